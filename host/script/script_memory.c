/* SPDX-License-Identifier: MIT
 *
 * Owns a script's memory: a counting allocator with a cap and a reserve. It knows
 * nothing of Lua's objects. Surprise: after a refusal Lua collects garbage and
 * asks for the same block again; only that second refusal means "full", and only
 * then does the reserve open.
 */
#include <stdlib.h>

#include "host/script/script_state.h"

#define RESERVE_BYTES ((size_t)1024 * 1024)

void neap_script_memory_init(struct neap_script_memory *memory, int64_t cap_bytes)
{
    size_t cap = (size_t)(cap_bytes > 0 ? cap_bytes : NEAP_SCRIPT_MEMORY_BYTES);
    *memory = (struct neap_script_memory){.cap = cap, .reserve = RESERVE_BYTES};
    if (memory->reserve > cap / 4)
        memory->reserve = cap / 4;
}

static size_t limit_of(const struct neap_script_memory *memory)
{
    return memory->is_reserve_open ? memory->cap : memory->cap - memory->reserve;
}

static void refuse(struct neap_script_memory *memory, const void *block, size_t size)
{
    if (memory->failed_block == block && memory->failed_size == size)
        memory->is_reserve_open = true;
    memory->failed_block = block;
    memory->failed_size = size;
}

/* True when a test wants this allocation to fail. */
static bool is_to_fail(struct neap_script_memory *memory)
{
    if (memory->fail_in == NULL)
        return false;
    int64_t left = --*memory->fail_in;
    return left == 0 || left == -1;
}

void *neap_script_memory_alloc(void *arg, void *block, size_t old_size, size_t new_size)
{
    struct neap_script_memory *memory = arg;
    if (block == NULL)
        old_size = 0; /* Lua passes a type tag here */
    if (new_size == 0) {
        free(block);
        memory->used -= old_size;
        if (memory->is_reserve_open && memory->used < (memory->cap - memory->reserve) / 2)
            memory->is_reserve_open = false;
        return NULL;
    }
    size_t growth = new_size > old_size ? new_size - old_size : 0;
    if (growth > 0 && is_to_fail(memory)) {
        refuse(memory, block, new_size);
        return NULL;
    }
    if (growth > 0 &&
        (memory->used > limit_of(memory) || growth > limit_of(memory) - memory->used)) {
        refuse(memory, block, new_size);
        return NULL;
    }
    void *moved = realloc(block, new_size);
    if (moved == NULL) {
        refuse(memory, block, new_size);
        return NULL;
    }
    memory->used += new_size - old_size; /* wraps and unwraps when it shrinks */
    return moved;
}

bool neap_script_memory_count(struct neap_script_memory *memory, int64_t bytes)
{
    if (bytes < 0) {
        memory->used -= (size_t)-bytes;
        return true;
    }
    if ((size_t)bytes > neap_script_memory_left(memory))
        return false;
    memory->used += (size_t)bytes;
    return true;
}

size_t neap_script_memory_left(const struct neap_script_memory *memory)
{
    size_t limit = memory->cap - memory->reserve;
    return memory->used < limit ? limit - memory->used : 0;
}
