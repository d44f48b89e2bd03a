/* y = x W^T for a packed W, and which instruction set computes it. */
#include <string.h>

#include "kernels.h"

/* Activations of one pass stay in the second-level cache while the weights stream by. */
#define PASS_BYTES (384 * 1024)

const instruction_set *vl2_active = &vl2_portable;

#if defined(__x86_64__)
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

static int has_bf16(void) { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

/* Takes the instruction set of this name, or the best one for NULL; returns the name of the one
 * that is in use then. A name that the processor lacks changes nothing. */
const char *vl2_select(const char *name) {
    const instruction_set *found[4] = {&vl2_portable, NULL, NULL, NULL};
    int count = 1;
#if defined(__x86_64__)
    if (has_avx2()) found[count++] = &vl2_avx2;
    if (has_avx512()) found[count++] = &vl2_avx512;
    if (has_bf16()) found[count++] = &vl2_avx512bf16;
#endif
    for (int i = 0; i < count; i++) {
        if (name == NULL || strcmp(name, found[i]->name) == 0) vl2_active = found[i];
    }
    return vl2_active->name;
}

static void write_block(float (*tile)[ROWS], int count, int64_t block, const ending *end,
                        int64_t start) {
    int64_t column = block * ROWS, size = type_size(end->type);
    int64_t width = end->n - column < ROWS ? end->n - column : ROWS;
    for (int t = 0; t < count; t++) {
        if (end->bias != NULL || end->activation != NO_ACTIVATION) {
            const float *bias = end->bias == NULL ? NULL : end->bias + column;
            vl2_active->finish(tile[t], bias, width, end->activation);
        }
        char *place = (char *)end->y + ((start + t) * end->n + column) * size;
        vl2_active->store(tile[t], width, place, end->type);
    }
}

static void multiply_blocks(const packed *weight, int64_t block, int blocks,
                            const activations *rows, int64_t count, const ending *end,
                            int64_t first) {
    for (int64_t start = 0; start < count; start += TOKENS) {
        activation tokens[TOKENS];
        float tile[PAIR * TOKENS][ROWS];
        int here = (int)(count - start < TOKENS ? count - start : TOKENS);
        for (int t = 0; t < here; t++) tokens[t] = row_of(rows, start + t);
        run_tile(weight, block, blocks, tokens, here, tile);
        for (int b = 0; b < blocks; b++) {
            write_block(tile + b * TOKENS, here, block + b, end, first + start);
        }
    }
}

/* x [m][k] -> y [m][n], without gaps and of one type. */
int vl2_linear(const packed *weight, int64_t k, const void *x, int64_t m, const ending *end,
               int threads) {
    if (!shape_is_sound(weight) || k > weight->groups * weight->group ||
        end->n > weight->blocks * ROWS)
        return BAD_SHAPE;
    int64_t columns = weight->groups * weight->group, size = type_size(end->type);
    int64_t pass = PASS_BYTES / (columns * code_size(weight->bits)) / TOKENS * TOKENS;
    if (pass < TOKENS) pass = TOKENS;
    if (pass > m) pass = m;
    activations rows;
    if (!allocate_rows(&rows, pass, weight)) return NO_MEMORY;
#pragma omp parallel num_threads(threads)
    for (int64_t start = 0; start < m; start += pass) {
        int64_t here = m - start < pass ? m - start : pass;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < here; i++) {
            prepare_row(&rows, i, (const char *)x + (start + i) * k * size, end->type, k);
        }
#pragma omp for schedule(static)
        for (int64_t block = 0; block < weight->blocks; block += PAIR) {
            int blocks = weight->blocks - block < PAIR ? 1 : PAIR;
            multiply_blocks(weight, block, blocks, &rows, here, end, start);
        }
    }
    free(rows.buffer);
    return OK;
}

void vl2_products(const product *products, int count, const activations *rows, int64_t m,
                  int threads) {
    int64_t total = 0;
    for (int i = 0; i < count; i++) total += (products[i].weight->blocks + PAIR - 1) / PAIR;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t index = 0; index < total; index++) {
        const product *p = products;
        int64_t pair = index;
        for (; pair >= (p->weight->blocks + PAIR - 1) / PAIR; p++) {
            pair -= (p->weight->blocks + PAIR - 1) / PAIR;
        }
        int64_t block = pair * PAIR;
        int blocks = p->weight->blocks - block < PAIR ? 1 : PAIR;
        ending end = {p->out, p->n, FLOAT32, NULL, NO_ACTIVATION};
        multiply_blocks(p->weight, block, blocks, rows, m, &end, 0);
    }
}
