#include <math.h>
#include <stdio.h>

int main(int argc, char **argv) {
    printf("hello %s %d\n", argv[1], (int)sqrt(argc * 2.0));
    return 0;
}
