# SPDX-License-Identifier: MIT
#
# Writes OUTPUT, a C file that holds the files of LIST (paths below ROOT, sorted)
# by .incbin: the assembler copies the bytes, so embedding costs no parsing. The
# sizes are taken here; the file is written anew whenever one of them changes.
file(STRINGS ${LIST} paths)
set(blobs "")
set(rows "")
set(index 0)
foreach(path IN LISTS paths)
  file(SIZE ${ROOT}/${path} size)
  string(APPEND blobs "extern const char neap_embedded_${index}[];
__asm__(\".section .rodata\\n\"
        \".hidden neap_embedded_${index}\\n.globl neap_embedded_${index}\\n\"
        \"neap_embedded_${index}:\\n.incbin \\\"${ROOT}/${path}\\\"\\n.byte 0\\n.previous\\n\");
")
  string(APPEND rows "    {\"${path}\", neap_embedded_${index}, ${size}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT} "/* Written by stdlib/embed.cmake; do not edit. */
#include \"host/base/embedded.h\"

#pragma GCC visibility push(hidden)
${blobs}#pragma GCC visibility pop

const struct neap_embedded neap_embedded_rows[] = {
${rows}    {0},
};
const size_t neap_embedded_count = ${index};
")
