#include <stdio.h>
#include <string.h>

int main(int count, char **args) {
    char text[100] = "";
    FILE *in = fopen("in.txt", "r"), *out = fopen("out.txt", "w");
    if (in == NULL || out == NULL || fgets(text, sizeof text, in) == NULL) return 9;
    text[strcspn(text, "\n")] = 0;
    fprintf(out, "%s %s\n", text, args[1]);
    fclose(out);
    printf("args %s|%s\n", args[1], args[count - 1]);
    int bytes = 0;
    while (getchar() != EOF) bytes++;
    printf("stdin %d\n", bytes);
    return 3;
}
