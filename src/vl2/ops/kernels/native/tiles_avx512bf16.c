/* The inner loops for AVX-512 with VNNI, compiled once more with AVX512_BF16. */
#include "tiles_avx512.c"
