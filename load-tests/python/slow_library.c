/* Stands in front of a speech library and makes one of its functions take as many milliseconds longer as a file says.
 * test_waterfall.py builds it with -DSLOW=the_function, -DFUNCTION='"the_function"' and -DLIBRARY='"the real library"'. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef intptr_t (*function)(intptr_t, intptr_t, intptr_t, intptr_t);

static int delay_ms(void) {
    int ms = 0;
    const char *path = getenv("SLOW_" FUNCTION);
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (fscanf(file, "%d", &ms) != 1) ms = 0;
        fclose(file);
    }
    return ms;
}

intptr_t SLOW(intptr_t a, intptr_t b, intptr_t c, intptr_t d) {
    static function real;
    if (!real) {
        void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
        if (library) real = (function)dlsym(library, FUNCTION);
        if (!real) abort();
    }
    usleep(1000 * delay_ms());
    return real(a, b, c, d);
}
