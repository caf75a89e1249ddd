import std.array, std.file, std.stdio, std.string;

int main(string[] args)
{
    auto text = strip(readText("in.txt"));
    std.file.write("out.txt", text ~ " " ~ args[1] ~ "\n");
    writeln("args ", join(args[1 .. $], "|"));
    size_t bytes = 0;
    foreach (chunk; stdin.byChunk(1024))
        bytes += chunk.length;
    writeln("stdin ", bytes);
    return 3;
}
