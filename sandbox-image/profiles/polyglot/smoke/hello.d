import std.stdio;

void main(string[] args)
{
    writeln("hello ", args[1], " ", [1, 2].length);
}
