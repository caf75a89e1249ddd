#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main(int count, char **values) {
    std::vector<std::string> args(values + 1, values + count);
    std::string text;
    std::getline(std::ifstream("in.txt"), text);
    std::ofstream("out.txt") << text << " " << args[0] << "\n";
    std::cout << "args " << args[0] << "|" << args[1] << "\n";
    std::string input((std::istreambuf_iterator<char>(std::cin)), {});
    std::cout << "stdin " << input.size() << "\n";
    return 3;
}
