/* The inner loops in plain C: for every processor, and the reference for the others. */
#include "attend.h"
#include "rows.h"

static void tile(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                 const activation *tokens, int count, float (*out)[ROWS], int bits) {
    for (int t = 0; t < count; t++) {
        const uint8_t *code = codes;
        float total[ROWS] = {0};
        for (int64_t g = 0; g < weight->groups; g++) {
            int32_t dot[ROWS] = {0};
            const int8_t *x = tokens[t].codes + g * weight->group;
            for (int64_t k = 0; k < weight->group; k += bits == 4 ? 8 : 4) {
                for (int row = 0; row < ROWS; row++) {
                    for (int j = 0; j < 4; j++) {
                        int byte = code[4 * row + j];
                        if (bits == 4) {
                            dot[row] += ((byte & 15) - 8) * x[k + j];
                            dot[row] += ((byte >> 4) - 8) * x[k + 4 + j];
                        } else {
                            dot[row] += (byte - 128) * x[k + j];
                        }
                    }
                }
                code += 4 * ROWS;
            }
            for (int row = 0; row < ROWS; row++) {
                float scale = from_bfloat16(scales[g * ROWS + row]) * tokens[t].scales[g];
                total[row] += (float)dot[row] * scale;
            }
        }
        memcpy(out[t], total, sizeof total);
    }
}

static void tile4(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                  const activation *tokens, int count, float (*out)[ROWS]) {
    tile(weight, codes, scales, tokens, count, out, 4);
}

static void tile8(const packed *weight, const uint8_t *codes, const uint16_t *scales,
                  const activation *tokens, int count, float (*out)[ROWS]) {
    tile(weight, codes, scales, tokens, count, out, 8);
}

const instruction_set vl2_portable = {"portable", tile4,  tile8,     tile16, quantise, halve,
                                      silu_times, store, finish,  attend,    soften, normalise, dots, combine};
