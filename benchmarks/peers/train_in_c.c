/* Trains the perceptron on random numbers, then prints the most memory that the process has held
   (Linux: VmHWM) and how much of it were the data, both in bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "mnist_mlp.h"

enum { ROWS = 4096, PIXELS = 784, BATCH = 128, BATCHES = ROWS / BATCH };

int main(void)
{
    static float fc1_W[784 * 100], fc1_b[100], fc2_W[100 * 200], fc2_b[200], fc3_W[200 * 10];
    static float fc3_b[10];
    static unsigned char workspace[MNIST_MLP_WORKSPACE_BYTES];
    const mnist_mlp_params params = {fc1_W, fc1_b, fc2_W, fc2_b, fc3_W, fc3_b};
    float *x = malloc(sizeof *x * ROWS * PIXELS);
    int32_t *label = malloc(sizeof *label * ROWS);
    int64_t *order = malloc(sizeof *order * ROWS);
    double losses[BATCHES];
    if (!x || !label || !order) {
        return 1;
    }
    for (ptrdiff_t i = 0; i < (ptrdiff_t)ROWS * PIXELS; i++) {
        x[i] = (float)rand() / (float)RAND_MAX;
    }
    for (ptrdiff_t n = 0; n < ROWS; n++) {
        label[n] = rand() % 10;
        order[n] = n;
    }
    mnist_mlp_init_params(0, &params);
    for (int epoch = 0; epoch < 3; epoch++) {
        if (mnist_mlp_train_epoch(
                &params, x, label, ROWS, order, ROWS, BATCH, 0.01f, losses, workspace)) {
            return 1;
        }
    }
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;
    while (status && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmHWM: %ld kB", &kilobytes) == 1) {
            break;
        }
    }
    if (!kilobytes) {
        return 1;
    }
    const size_t data = ROWS * (sizeof *x * PIXELS + sizeof *label + sizeof *order);
    printf("%ld %zu\n", kilobytes * 1024, data);
    return 0;
}
