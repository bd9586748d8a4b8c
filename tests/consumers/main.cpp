#include <aoti/aoti.hpp>
#include <aoti/version.hpp>
#include <cstdio>

int main() { std::printf("aoti %s\n", aoti::version); }
