/* Train a network and use it, in C alone: no Python, no library but the C one.

       ./digits train-images train-labels test-images test-labels

   The files are IDX, the format of MNIST, not compressed. For another network or other data change
   the include, PIXELS, CLASSES and WHITE. */
#include "digits_mlp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, CLASSES = 10, BATCH = 32, EPOCHS = 30 };
static const float WHITE = 16.0f; /* the value of a white pixel in the files; 255 for MNIST */

typedef struct {
    float *x; /* [rows][PIXELS], 0..1 */
    int32_t *label; /* [rows] */
    ptrdiff_t rows;
} dataset;

static void stop(const char *what, const char *of)
{
    fprintf(stderr, "%s: %s\n", of, what);
    exit(1);
}

static void *room(size_t count, size_t size)
{
    void *made = calloc(count, size);
    if (made == NULL) {
        stop("no memory", "main");
    }
    return made;
}

static uint32_t big_endian(FILE *file, const char *path)
{
    unsigned char b[4];
    if (fread(b, 1, 4, file) != 4) {
        stop("cut off", path);
    }
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The bytes of an IDX file whose elements have `size` bytes; `*rows` is its first dimension. */
static unsigned char *read_idx(const char *path, size_t size, ptrdiff_t *rows)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        stop("cannot be opened", path);
    }
    const uint32_t magic = big_endian(file, path);
    const uint32_t count = big_endian(file, path);
    if (magic >> 8 != 8 || count == 0 || count > 10000000) {
        stop("is no IDX file of bytes", path);
    }
    size_t found = 1;
    for (uint32_t axis = 1; axis < (magic & 255); axis++) {
        found *= big_endian(file, path);
    }
    if (found != size) {
        stop("holds elements of another size", path);
    }
    unsigned char *bytes = room(count, size);
    if (fread(bytes, size, count, file) != count) {
        stop("cut off", path);
    }
    fclose(file);
    *rows = (ptrdiff_t)count;
    return bytes;
}

static dataset read_dataset(const char *images, const char *labels)
{
    dataset data;
    ptrdiff_t label_rows;
    unsigned char *pixels = read_idx(images, PIXELS, &data.rows);
    unsigned char *answers = read_idx(labels, 1, &label_rows);
    if (label_rows != data.rows) {
        stop("has another number of rows than the images", labels);
    }
    data.x = room((size_t)data.rows * PIXELS, sizeof *data.x);
    data.label = room((size_t)data.rows, sizeof *data.label);
    for (ptrdiff_t i = 0; i < data.rows * PIXELS; i++) {
        data.x[i] = (float)pixels[i] / WHITE;
    }
    for (ptrdiff_t n = 0; n < data.rows; n++) {
        data.label[n] = answers[n];
    }
    free(pixels);
    free(answers);
    return data;
}

static void checked(int code)
{
    if (code != DIGITS_MLP_OK) {
        stop(digits_mlp_error_text(code), "digits_mlp");
    }
}

/* A small generator is enough to shuffle with (xorshift, Marsaglia 2003). */
static uint64_t shuffle(int64_t *order, ptrdiff_t count, uint64_t seed)
{
    for (ptrdiff_t n = 0; n < count; n++) {
        order[n] = n;
    }
    for (ptrdiff_t n = count - 1; n > 0; n--) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        const ptrdiff_t m = (ptrdiff_t)(seed % (uint64_t)(n + 1));
        const int64_t kept = order[n];
        order[n] = order[m];
        order[m] = kept;
    }
    return seed;
}

static int largest(const float *scores)
{
    int best = 0;
    for (int k = 1; k < CLASSES; k++) {
        best = scores[k] > scores[best] ? k : best;
    }
    return best;
}

static double accuracy(const digits_mlp_params *params, const dataset *data, void *workspace)
{
    float logits[BATCH * CLASSES];
    ptrdiff_t right = 0;
    for (ptrdiff_t first = 0; first < data->rows; first += BATCH) {
        const ptrdiff_t left = data->rows - first;
        const ptrdiff_t rows = left < BATCH ? left : BATCH;
        checked(digits_mlp_forward(params, data->x + first * PIXELS, logits, rows, workspace));
        for (ptrdiff_t n = 0; n < rows; n++) {
            right += largest(logits + n * CLASSES) == data->label[first + n];
        }
    }
    return (double)right / (double)data->rows;
}

int main(int count, char **arguments)
{
    if (count != 5) {
        stop("train-images train-labels test-images test-labels", "usage");
    }
    const dataset train = read_dataset(arguments[1], arguments[2]);
    const dataset test = read_dataset(arguments[3], arguments[4]);

    /* Everything that the emitted functions write lies in memory of ours. */
    static float fc1_W[PIXELS * 48], fc1_b[48], fc2_W[48 * CLASSES], fc2_b[CLASSES];
    static float v1_W[PIXELS * 48], v1_b[48], v2_W[48 * CLASSES], v2_b[CLASSES];
    static unsigned char workspace[DIGITS_MLP_WORKSPACE_BYTES];
    const digits_mlp_params params = {fc1_W, fc1_b, fc2_W, fc2_b};
    const digits_mlp_state state = {v1_W, v1_b, v2_W, v2_b};
    digits_mlp_init_params(0, &params);
    digits_mlp_init_state(&state);

    int64_t *order = room((size_t)train.rows, sizeof *order);
    const ptrdiff_t batches = (train.rows + BATCH - 1) / BATCH;
    double *losses = room((size_t)batches, sizeof *losses);
    uint64_t seed = 1;
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        seed = shuffle(order, train.rows, seed);
        checked(digits_mlp_train_epoch(
            &params, &state, train.x, train.label, train.rows, order, train.rows, BATCH,
            0.05f, 0.9f, losses, workspace));
        if (epoch % 10 == 0) {
            double sum = 0;
            for (ptrdiff_t n = 0; n < batches; n++) {
                sum += losses[n];
            }
            printf("epoch %2d   loss %.4f   test accuracy %.1f %%\n", epoch,
                sum / (double)batches, 100 * accuracy(&params, &test, workspace));
        }
    }

    float logits[CLASSES];
    checked(digits_mlp_forward(&params, test.x, logits, 1, workspace));
    printf("the first test image is a %" PRId32 ", read as %d\n", test.label[0], largest(logits));
    return 0;
}
