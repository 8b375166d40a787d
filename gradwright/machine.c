/* What the processor can do at most: multiply-adds in registers, and bytes read or copied.

   Read it beside machine.py, which builds it with the flags of the emitted C and holds the clock.
   REAL is float or double. The sums of `gw_multiply_add` are independent, and more than a
   multiply-add's latency times the units that there are, so that nothing waits for anything. */
#include <stddef.h>
#include <string.h>

#ifndef REAL
#define REAL float
#endif

#if defined(__AVX512F__)
#define WIDTH 64
#define SUMS 24
#elif defined(__AVX__)
#define WIDTH 32
#define SUMS 12
#elif defined(__aarch64__)
#define WIDTH 16
#define SUMS 24
#else
#define WIDTH 16
#define SUMS 12
#endif
#define LANES (WIDTH / sizeof(REAL))

#if defined(__GNUC__)
typedef REAL vector __attribute__((vector_size(WIDTH), may_alias));
#define EACH(statement) statement
#define LANE(v) (v)
#else
typedef struct { REAL lane[LANES]; } vector;
#define EACH(statement) for (size_t l = 0; l < LANES; l++) { statement; }
#define LANE(v) ((v).lane[l])
#endif

/* What the results are added to, so that a compiler has to find them. */
REAL gw_sink;

/* The operations of one round. */
size_t gw_operations(void)
{
    return 2 * SUMS * LANES;
}

void gw_multiply_add(size_t rounds)
{
    vector sum[SUMS], x, y;
    for (size_t i = 0; i < LANES; i++) {
        ((REAL *)&x)[i] = gw_sink + (REAL)0.5;
        ((REAL *)&y)[i] = gw_sink + (REAL)1;
        for (size_t s = 0; s < SUMS; s++) {
            ((REAL *)&sum[s])[i] = gw_sink + (REAL)(s + i); /* equal sums would be computed once */
        }
    }
    for (size_t round = 0; round < rounds; round++) {
#if defined(__clang__)
#pragma clang loop unroll(full)
#elif defined(__GNUC__)
#pragma GCC unroll 24
#endif
        for (int s = 0; s < SUMS; s++) {
            EACH(LANE(sum[s]) = LANE(sum[s]) * LANE(x) + LANE(y));
        }
    }
    for (int s = 0; s < SUMS; s++) {
        gw_sink += ((REAL *)&sum[s])[0] * 0;
    }
}

/* Copies `count` bytes (of two places that do not overlap), again and again. */
void gw_copy(unsigned char *to, const unsigned char *from, size_t count, size_t rounds)
{
    for (size_t round = 0; round < rounds; round++) {
        memcpy(to, from, count);
        gw_sink += (REAL)to[round % count] * 0;
    }
}

/* Reads `count` bytes, a multiple of 8 vectors, again and again. */
void gw_read(const unsigned char *from, size_t count, size_t rounds)
{
    vector sum[8];
    memset(sum, 0, sizeof sum);
    for (size_t round = 0; round < rounds; round++) {
        const vector *at = (const vector *)(const void *)from;
        for (size_t i = 0; i < count / sizeof(vector); i += 8) {
            for (int s = 0; s < 8; s++) {
                EACH(LANE(sum[s]) += LANE(at[i + (size_t)s]));
            }
        }
    }
    for (int s = 0; s < 8; s++) {
        gw_sink += ((REAL *)&sum[s])[0] * 0;
    }
}
