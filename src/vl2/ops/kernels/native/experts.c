/* The routed and shared experts of a layer, for one token or many: gate, up, silu, down and the
 * weighted sum, in one call.
 *
 * A job is one expert and the tokens that chose it; the shared experts are a job that every token
 * chose with weight 1. Each job's inner numbers are made ready group by group as they come. The
 * sum over a token's experts runs in the order of their numbers, whatever the threads do. */
#include <string.h>

#include "kernels.h"

#define CHUNK 64   /* tokens of a job whose inner numbers are in work at a time */
#define SUMS 98304 /* results that a thread sums at a time: they stay in its cache */

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
    activations inner; /* job after job, pair after pair: a row here is one group */
} work;

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

/* The products of some blocks of gate or up with `count` tokens of a job; blocks beyond the last
 * give 0. */
static void project(const work *w, const job *j, const packed *weight, int64_t block,
                    int64_t blocks, int64_t start, int64_t count, float (*out)[MAX_GROUP]) {
    for (int64_t t = 0; t < count; t += TOKENS) {
        activation tokens[TOKENS];
        int here = (int)(count - t < TOKENS ? count - t : TOKENS);
        for (int i = 0; i < here; i++) {
            tokens[i] = row_of(&w->x, w->tokens[j->first + start + t + i]);
        }
        for (int64_t b = 0; b < blocks; b += PAIR) {
            float tile[PAIR * TOKENS][ROWS];
            int64_t left = weight->blocks - block - b, wanted = blocks - b < PAIR ? 1 : PAIR;
            int there = (int)(left < wanted ? (left < 0 ? 0 : left) : wanted);
            if (there > 0) run_tile(weight, block + b, there, tokens, here, tile);
            for (int64_t c = 0; c < wanted; c++) {
                for (int i = 0; i < here; i++) {
                    float *place = &out[t + i][(b + c) * ROWS];
                    if (c < there) {
                        memcpy(place, tile[c * TOKENS + i], sizeof tile[0]);
                    } else {
                        memset(place, 0, sizeof tile[0]);
                    }
                }
            }
        }
    }
}

/* One group of inner numbers of a job, for `count` of its tokens from `start` on. */
static void make_inner(const work *w, const job *j, int64_t group, int64_t start, int64_t count) {
    const int64_t width = j->down.group, blocks = width / ROWS;
    float gates[CHUNK][MAX_GROUP], ups[CHUNK][MAX_GROUP];
    project(w, j, &j->gate, group * blocks, blocks, start, count, gates);
    project(w, j, &j->up, group * blocks, blocks, start, count, ups);
    int64_t left = j->inner - group * width;
    for (int64_t t = 0; t < count; t++) {
        vl2_active->silu_times(gates[t], ups[t], width);
        prepare_row(&w->inner, j->inner_start + (start + t) * j->down.groups + group, gates[t],
                    FLOAT32, left < width ? left : width);
    }
}

static activation inner_of(const work *w, const job *j, int64_t index) {
    return row_of(&w->inner, j->inner_start + index * j->down.groups);
}

/* Results of `blocks` blocks from `block` on for every token, summed over the jobs:
 * sums [m][blocks * 16]. */
static void sum_down(const work *w, int64_t block, int64_t blocks, int64_t m, float *sums) {
    int64_t width = blocks * ROWS;
    memset(sums, 0, (size_t)(m * width) * sizeof *sums);
    for (int64_t i = 0; i < w->job_count; i++) {
        const job *j = &w->jobs[i];
        for (int64_t t = 0; t < j->count; t += TOKENS) {
            activation tokens[TOKENS];
            float tile[PAIR * TOKENS][ROWS];
            int here = (int)(j->count - t < TOKENS ? j->count - t : TOKENS);
            for (int p = 0; p < here; p++) tokens[p] = inner_of(w, j, t + p);
            for (int64_t b = 0; b < blocks; b += PAIR) {
                int both = blocks - b < PAIR ? 1 : PAIR;
                run_tile(&j->down, block + b, both, tokens, here, tile);
                for (int p = 0; p < here; p++) {
                    float *sum = sums + w->tokens[j->first + t + p] * width + b * ROWS;
                    float factor = w->factors[j->first + t + p];
                    for (int c = 0; c < both; c++) {
                        const float *part = tile[c * TOKENS + p];
                        for (int row = 0; row < ROWS; row++) {
                            sum[c * ROWS + row] += factor * part[row];
                        }
                    }
                }
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

/* Blocks of results that a thread sums at a time: with few tokens its whole share, so that it
 * reads each expert's weights in one go. */
static int64_t down_chunk(int64_t m, int64_t blocks, int threads) {
    int64_t share = (blocks + threads - 1) / threads, most = SUMS / ROWS / m;
    int64_t chunk = share < most ? share : most;
    return chunk < PAIR ? PAIR : (chunk + PAIR - 1) / PAIR * PAIR;
}

typedef struct {
    const void *x;
    void *y;
    int64_t m, k, d;
    int type, threads;
} call;

static void compute(const work *w, const item *items, int64_t item_count, const call *c,
                    int64_t chunk, float *sums) {
    int64_t size = type_size(c->type), blocks = (c->d + ROWS - 1) / ROWS;
    /* With few tokens each thread reads its share of the weights in one go. */
    int share = c->m > CHUNK ? 1 : (int)((item_count + c->threads - 1) / c->threads);
    if (share < 1) share = 1;
#pragma omp parallel num_threads(c->threads)
    {
        float *mine = sums + vl2_thread() * c->m * chunk * ROWS;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < c->m; i++) {
            prepare_row(&w->x, i, (const char *)c->x + i * c->k * size, c->type, c->k);
        }
#pragma omp for schedule(dynamic, share)
        for (int64_t i = 0; i < item_count; i++) {
            const job *j = &w->jobs[items[i].job];
            int64_t left = j->count - items[i].start;
            make_inner(w, j, items[i].group, items[i].start, left < CHUNK ? left : CHUNK);
        }
#pragma omp for schedule(dynamic)
        for (int64_t block = 0; block < blocks; block += chunk) {
            int64_t here = blocks - block < chunk ? blocks - block : chunk;
            sum_down(w, block, here, c->m, mine);
            int64_t column = block * ROWS, width = here * ROWS;
            int64_t kept = c->d - column < width ? c->d - column : width;
            for (int64_t i = 0; i < c->m; i++) {
                vl2_active->store(mine + i * width, kept,
                                  (char *)c->y + (i * c->d + column) * size, c->type);
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
        if (code_size(all[i]->bits) != code_size(any->bits)) return 0;
    }
    return any != NULL && k <= any->groups * any->group && d > 0;
}

int vl2_experts(const expert_weights *weights, const void *x, int64_t m, int64_t k,
                const int64_t *indices, const float *factors, int64_t top_k, void *y, int64_t d,
                int type, int threads) {
    if (!is_sound(weights, k, d)) return BAD_SHAPE;
    const packed *any = weights->experts ? weights->gate_up : weights->shared_gate;
    int64_t pairs = m * (top_k + 1);
    int64_t routed = weights->experts ? m * top_k * weights->down->groups : 0;
    int64_t shared = weights->shared_gate ? m * weights->shared_down->groups : 0;
    int64_t chunk = down_chunk(m, (d + ROWS - 1) / ROWS, threads);
    call c = {x, y, m, k, d, type, threads};
    packed one_group = *any;
    one_group.groups = 1;
    work w = {0};
    item *items = NULL;
    w.jobs = malloc((size_t)(weights->experts + 1) * sizeof(job));
    w.tokens = malloc((size_t)(pairs + weights->experts + 1) * sizeof(int64_t));
    w.factors = malloc((size_t)pairs * sizeof(float));
    float *sums = malloc((size_t)(m * threads * chunk * ROWS) * sizeof *sums);
    int status = NO_MEMORY;
    if (w.jobs && w.tokens && w.factors && sums && allocate_rows(&w.x, m, any) &&
        allocate_rows(&w.inner, routed + shared, &one_group)) {
        sort_pairs(weights, indices, factors, m, top_k, w.tokens + pairs, &w);
        int64_t item_count = list_items(&w, NULL);
        items = malloc((size_t)(item_count + 1) * sizeof(item));
        if (items != NULL) {
            list_items(&w, items);
            compute(&w, items, item_count, &c, chunk, sums);
            status = OK;
        }
    }
    free(w.jobs);
    free(w.tokens);
    free(w.factors);
    free(w.x.buffer);
    free(w.inner.buffer);
    free(items);
    free(sums);
    return status;
}
