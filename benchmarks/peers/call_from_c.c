/* Calls a network's forward function again and again, as a C program does. */
#include <stddef.h>

typedef int (*forward_function)(const void *params, const void *x, void *logits, ptrdiff_t rows,
                                void *workspace);

void call_from_c(forward_function forward, const void *params, const void *x, void *logits,
                 void *workspace, ptrdiff_t rows, ptrdiff_t passes)
{
    for (ptrdiff_t pass = 0; pass < passes; pass++) {
        forward(params, x, logits, rows, workspace);
    }
}
