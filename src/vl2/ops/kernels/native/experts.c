/* The routed and shared experts of a layer, for one token or many: gate, up, silu, down and the
 * weighted sum, in one call.
 *
 * A job is one expert and the tokens that chose it; the shared experts are a job that every token
 * chose with weight 1. Each job's inner numbers are quantised group by group as they are made. The
 * sum over a token's experts runs in the order of their numbers, whatever the threads do. */
#include <string.h>

#include "packed.h"

#define CHUNK 64 /* tokens of a job whose inner numbers are in work at a time */

typedef struct {
    packed gate, up, down;
    int64_t inner; /* numbers between up and down */
    int64_t count, first; /* its tokens: pairs first .. first + count */
    int64_t inner_start;  /* where its inner numbers begin in codes, scales and sums */
} job;

typedef struct {
    job *jobs;
    int64_t job_count;
    int64_t *tokens; /* [pairs], sorted by job */
    float *factors;  /* [pairs] */
    activations x;
    int8_t *codes; /* inner numbers, job after job, pair after pair */
    float *scales;
    int32_t *sums;
} work;

typedef struct {
    const packed *gate_up, *down; /* blocks of all experts one after the other */
    int64_t experts, inner;
    const packed *shared_gate, *shared_up, *shared_down; /* NULL for none */
    int64_t shared_inner;
} expert_weights;

static packed part_of(const packed *weight, int64_t block, int64_t blocks) {
    packed part = *weight;
    part.codes += block * block_bytes(weight);
    part.scales += block * weight->groups * ROWS;
    part.blocks = blocks;
    return part;
}

static void list_jobs(const expert_weights *weights, const int64_t *counts, int64_t m, work *w) {
    int64_t gate_blocks = weights->experts ? weights->gate_up->blocks / weights->experts / 2 : 0;
    int64_t down_blocks = weights->experts ? weights->down->blocks / weights->experts : 0;
    int64_t first = 0, inner_start = 0;
    w->job_count = 0;
    for (int64_t e = 0; e < weights->experts; e++) {
        if (counts[e] == 0) continue;
        job *j = &w->jobs[w->job_count++];
        j->gate = part_of(weights->gate_up, 2 * e * gate_blocks, gate_blocks);
        j->up = part_of(weights->gate_up, (2 * e + 1) * gate_blocks, gate_blocks);
        j->down = part_of(weights->down, e * down_blocks, down_blocks);
        j->inner = weights->inner;
        j->count = counts[e];
        j->first = first;
        j->inner_start = inner_start;
        first += counts[e];
        inner_start += counts[e] * j->down.groups;
    }
    if (weights->shared_gate != NULL) {
        job *j = &w->jobs[w->job_count++];
        j->gate = *weights->shared_gate;
        j->up = *weights->shared_up;
        j->down = *weights->shared_down;
        j->inner = weights->shared_inner;
        j->count = m;
        j->first = first;
        j->inner_start = inner_start;
    }
}

/* Sorts the pairs of token and expert by expert; an index outside 0 .. experts stands for none. */
static void sort_pairs(const expert_weights *weights, const int64_t *indices, const float *factors,
                       int64_t m, int64_t top_k, int64_t *counts, work *w) {
    memset(counts, 0, (size_t)(weights->experts + 1) * sizeof(int64_t));
    for (int64_t i = 0; i < m * top_k; i++) {
        if (indices[i] >= 0 && indices[i] < weights->experts) counts[indices[i]]++;
    }
    list_jobs(weights, counts, m, w);
    int64_t start = 0;
    for (int64_t e = 0; e < weights->experts; e++) {
        int64_t count = counts[e];
        counts[e] = start;
        start += count;
    }
    for (int64_t i = 0; i < m * top_k; i++) {
        if (indices[i] < 0 || indices[i] >= weights->experts) continue;
        int64_t place = counts[indices[i]]++;
        w->tokens[place] = i / top_k;
        w->factors[place] = factors[i];
    }
    if (weights->shared_gate == NULL) return;
    for (int64_t i = 0; i < m; i++) {
        w->tokens[start + i] = i;
        w->factors[start + i] = 1.0f;
    }
}

/* One group of inner numbers of a job, for `count` of its tokens from `start` on. */
static void make_inner(const work *w, const job *j, int64_t group, int64_t start, int64_t count) {
    const int64_t width = j->down.group, blocks = width / ROWS;
    float gates[CHUNK][MAX_GROUP], ups[CHUNK][MAX_GROUP];
    for (int64_t b = 0; b < blocks; b++) {
        int64_t block = group * blocks + b;
        for (int64_t t = 0; t < count; t += TOKENS) {
            activation tokens[TOKENS];
            float tile[TOKENS][ROWS];
            int here = (int)(count - t < TOKENS ? count - t : TOKENS);
            if (block >= j->gate.blocks) { /* the last group may have fewer blocks */
                for (int i = 0; i < here; i++) {
                    memset(&gates[t + i][b * ROWS], 0, sizeof tile[i]);
                    memset(&ups[t + i][b * ROWS], 0, sizeof tile[i]);
                }
                continue;
            }
            for (int i = 0; i < here; i++) {
                tokens[i] = row_of(&w->x, w->tokens[j->first + start + t + i]);
            }
            run_tile(&j->gate, block, tokens, here, tile);
            for (int i = 0; i < here; i++) memcpy(&gates[t + i][b * ROWS], tile[i], sizeof tile[i]);
            run_tile(&j->up, block, tokens, here, tile);
            for (int i = 0; i < here; i++) memcpy(&ups[t + i][b * ROWS], tile[i], sizeof tile[i]);
        }
    }
    int64_t left = j->inner - group * width;
    for (int64_t t = 0; t < count; t++) {
        int64_t place = j->inner_start + (start + t) * j->down.groups + group;
        vl2_active->silu_times(gates[t], ups[t], width);
        vl2_active->quantise(gates[t], FLOAT32, left < width ? left : width, 1, width,
                             w->codes + place * width, w->scales + place, w->sums + place);
    }
}

static activation inner_of(const work *w, const job *j, int64_t index) {
    int64_t place = j->inner_start + index * j->down.groups;
    activation row = {w->codes + place * j->down.group, w->scales + place, w->sums + place};
    return row;
}

/* One block of 16 results of every token, summed over the jobs. */
static void sum_down(const work *w, int64_t block, int64_t m, float (*sums)[ROWS]) {
    memset(sums, 0, (size_t)m * sizeof *sums);
    for (int64_t i = 0; i < w->job_count; i++) {
        const job *j = &w->jobs[i];
        for (int64_t t = 0; t < j->count; t += TOKENS) {
            activation tokens[TOKENS];
            float tile[TOKENS][ROWS];
            int here = (int)(j->count - t < TOKENS ? j->count - t : TOKENS);
            for (int p = 0; p < here; p++) tokens[p] = inner_of(w, j, t + p);
            run_tile(&j->down, block, tokens, here, tile);
            for (int p = 0; p < here; p++) {
                float *sum = sums[w->tokens[j->first + t + p]];
                float factor = w->factors[j->first + t + p];
                for (int row = 0; row < ROWS; row++) sum[row] += factor * tile[p][row];
            }
        }
    }
}

typedef struct {
    int64_t job, group, start;
} item;

/* What `make_inner` is called with; returns how many calls there are. */
static int64_t list_items(const work *w, item *items) {
    int64_t count = 0;
    for (int64_t i = 0; i < w->job_count; i++) {
        for (int64_t group = 0; group < w->jobs[i].down.groups; group++) {
            for (int64_t start = 0; start < w->jobs[i].count; start += CHUNK) {
                if (items != NULL) items[count] = (item){i, group, start};
                count++;
            }
        }
    }
    return count;
}

static void compute(const work *w, const item *items, int64_t item_count, const void *x, int64_t m,
                    int64_t k, int64_t d, void *y, int type, float (*sums)[ROWS], int threads) {
    int64_t size = type_size(type), blocks = (d + ROWS - 1) / ROWS;
#pragma omp parallel num_threads(threads)
    {
        float(*mine)[ROWS] = sums + vl2_thread() * m;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < m; i++) {
            quantise_row(&w->x, i, (const char *)x + i * k * size, type, k);
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < item_count; i++) {
            const job *j = &w->jobs[items[i].job];
            int64_t left = j->count - items[i].start;
            make_inner(w, j, items[i].group, items[i].start, left < CHUNK ? left : CHUNK);
        }
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            sum_down(w, block, m, mine);
            int64_t column = block * ROWS, width = d - column < ROWS ? d - column : ROWS;
            for (int64_t i = 0; i < m; i++) {
                vl2_active->store(mine[i], width, (char *)y + (i * d + column) * size, type);
            }
        }
    }
}

static int is_sound(const expert_weights *weights, int64_t k, int64_t d) {
    const packed *all[5] = {weights->gate_up, weights->down, weights->shared_gate,
                            weights->shared_up, weights->shared_down};
    const packed *any = weights->experts ? weights->gate_up : weights->shared_gate;
    for (int i = 0; i < 5; i++) {
        if (all[i] == NULL) continue;
        if (!shape_is_sound(all[i]) || all[i]->group != any->group) return 0;
    }
    return any != NULL && k <= any->groups * any->group && d > 0;
}

/* x [m][k] -> y [m][d], of one type. indices and factors are [m][top_k]. */
int vl2_experts(const expert_weights *weights, const void *x, int64_t m, int64_t k,
                const int64_t *indices, const float *factors, int64_t top_k, void *y, int64_t d,
                int type, int threads) {
    if (!is_sound(weights, k, d)) return BAD_SHAPE;
    const packed *any = weights->experts ? weights->gate_up : weights->shared_gate;
    int64_t group = any->group, pairs = m * (top_k + 1);
    int64_t routed = weights->experts ? m * top_k * weights->down->groups : 0;
    int64_t shared = weights->shared_gate ? m * weights->shared_down->groups : 0;
    int64_t inner = routed + shared;
    work w = {0};
    item *items = NULL;
    w.jobs = malloc((size_t)(weights->experts + 1) * sizeof(job));
    w.tokens = malloc((size_t)(pairs + weights->experts + 1) * sizeof(int64_t));
    w.factors = malloc((size_t)pairs * sizeof(float));
    w.codes = malloc((size_t)(inner * group));
    w.scales = malloc((size_t)inner * sizeof(float));
    w.sums = malloc((size_t)inner * sizeof(int32_t));
    float(*sums)[ROWS] = malloc((size_t)(m * threads) * sizeof *sums);
    int status = NO_MEMORY;
    if (w.jobs && w.tokens && w.factors && w.codes && w.scales && w.sums && sums &&
        allocate_rows(&w.x, m, any->groups, group)) {
        sort_pairs(weights, indices, factors, m, top_k, w.tokens + pairs, &w);
        int64_t item_count = list_items(&w, NULL);
        items = malloc((size_t)(item_count + 1) * sizeof(item));
        if (items != NULL) {
            list_items(&w, items);
            compute(&w, items, item_count, x, m, k, d, y, type, sums, threads);
            status = OK;
        }
    }
    free(w.jobs);
    free(w.tokens);
    free(w.factors);
    free(w.codes);
    free(w.scales);
    free(w.sums);
    free(w.x.buffer);
    free(items);
    free(sums);
    return status;
}
