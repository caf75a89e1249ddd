#include <iostream>
#include <vector>

int main(int, char **argv) {
    const std::vector<int> items{1, 2};
    std::cout << "hello " << argv[1] << ' ' << items.size() << '\n';
}
