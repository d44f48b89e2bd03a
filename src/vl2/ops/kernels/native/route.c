/* Which experts a token goes to, and with what weight: as `vl2.ops.router` does it. */
#include <math.h>
#include <string.h>

#include "kernels.h"

static void score(const routing *r, float *scores) {
    float highest = -INFINITY, total = 0.0f;
    for (int64_t e = 0; e < r->experts; e++) {
        highest = scores[e] > highest ? scores[e] : highest;
    }
    for (int64_t e = 0; e < r->experts; e++) {
        scores[e] = r->sigmoid ? 1.0f / (1.0f + expf(-scores[e])) : expf(scores[e] - highest);
        total += scores[e];
    }
    if (r->sigmoid) return;
    for (int64_t e = 0; e < r->experts; e++) scores[e] /= total;
}

static int64_t highest_of(const float *values, int64_t count, const char *taken) {
    int64_t best = -1;
    for (int64_t i = 0; i < count; i++) {
        if (!taken[i] && (best < 0 || values[i] > values[best])) best = i;
    }
    return best;
}

/* What a group is worth: its best score, or with a correction bias the sum of its two best. */
static float worth(const routing *r, const float *choice, int64_t size) {
    float first = -INFINITY, second = -INFINITY;
    for (int64_t i = 0; i < size; i++) {
        if (choice[i] > first) {
            second = first;
            first = choice[i];
        } else if (choice[i] > second) {
            second = choice[i];
        }
    }
    return r->two_best ? first + second : first;
}

/* Scores outside the kept groups become 0. `worths` and `taken` have room for all experts. */
static void keep_groups(const routing *r, float *choice, float *worths, char *taken) {
    int64_t size = r->experts / r->groups;
    for (int64_t g = 0; g < r->groups; g++) worths[g] = worth(r, choice + g * size, size);
    memset(taken, 0, (size_t)r->groups);
    for (int64_t i = 0; i < r->kept_groups; i++) taken[highest_of(worths, r->groups, taken)] = 1;
    for (int64_t g = 0; g < r->groups; g++) {
        if (!taken[g]) memset(choice + g * size, 0, (size_t)size * sizeof(float));
    }
}

void vl2_route(const routing *r, float *scores, int64_t *indices, float *factors) {
    float choice[MAX_EXPERTS], worths[MAX_EXPERTS], total = 0.0f;
    char taken[MAX_EXPERTS];
    score(r, scores);
    for (int64_t e = 0; e < r->experts; e++) {
        choice[e] = scores[e] + (r->bias == NULL ? 0.0f : r->bias[e]);
    }
    if (r->groups > 1) keep_groups(r, choice, worths, taken);
    memset(taken, 0, (size_t)r->experts);
    for (int64_t i = 0; i < r->top_k; i++) {
        indices[i] = highest_of(choice, r->experts, taken);
        taken[indices[i]] = 1;
        factors[i] = scores[indices[i]];
        total += factors[i];
    }
    float divisor = r->normalise && r->top_k > 1 ? total + 1e-20f : 1.0f;
    for (int64_t i = 0; i < r->top_k; i++) factors[i] = factors[i] / divisor * r->scale;
}
