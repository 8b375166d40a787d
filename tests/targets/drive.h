/* What the drives share: exact memory, made-up numbers, results as raw bytes. See drive.py.

   GUARD 0: every array is a malloc of its own, for sanitizers. GUARD 1: it ends where a page ends
   behind which nothing may be touched. GUARD 2: it begins where such a page ends. */
#ifndef DRIVE_H
#define DRIVE_H
#define _DEFAULT_SOURCE

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef GUARD
#define GUARD 0
#endif
#ifndef STEPS
#define STEPS 3
#endif
#define SAY(array, count) fwrite(array, sizeof *(array), (size_t)(count), out)

#if GUARD
#include <sys/mman.h>

enum { PAGE = 65536 };

static size_t pages(size_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

static void *room(size_t size)
{
    unsigned char *const all = (unsigned char *)mmap(
        NULL, pages(size) + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(all + PAGE, pages(size), PROT_READ | PROT_WRITE);
    memset(all + PAGE, 0xAB, pages(size));
    return GUARD == 1 ? all + PAGE + pages(size) - size : all + PAGE;
}

/* Also looks at the rest of the pages: nobody may have written there. */
static void release(void *at, size_t size)
{
    unsigned char *const all = (unsigned char *)at + (GUARD == 1 ? size : 0)
        - (GUARD == 1 ? pages(size) : 0) - PAGE;
    for (size_t i = 0; i < pages(size); i++) {
        const size_t slack = GUARD == 1 ? pages(size) - size : size;
        const int outside = GUARD == 1 ? i < slack : i >= slack;
        if (outside && all[PAGE + i] != 0xAB) {
            fprintf(stderr, "written outside an array of %lu bytes\n", (unsigned long)size);
            abort();
        }
    }
    munmap(all, pages(size) + 2 * PAGE);
}
#else
static void *room(size_t size)
{
    void *const made = malloc(size);
    if (made == NULL) {
        abort();
    }
    return made;
}

static void release(void *at, size_t size)
{
    (void)size;
    free(at);
}
#endif

/* A number that depends on a position and a salt alone. */
static inline uint32_t numbered(uint32_t i, uint32_t salt)
{
    return (i * 7919u + salt * 104729u) % 65521u;
}

#endif
