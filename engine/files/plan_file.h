#pragma once
// The choices made by timing, kept in a JSON file: a later run makes the same ones, and so repeats bit for bit.
#include <map>
#include <optional>
#include <string>

namespace mlkd {

class PlanFile {
public:
    // Reads `path` where it exists; "" remembers in memory only. Choices made on another machine (processor or GPU, number
    // of threads, the library's version: `machine` says which) are dropped, as their times mean nothing here. Throws Error
    // when the file cannot be read, is no plan file, or holds a choice of this machine that is no `valid` one.
    PlanFile(std::string path, std::string machine, bool (*valid)(const std::string& choice));

    std::optional<std::string> find(const std::string& call) const;
    // Writes the file at once, whole or not at all. Throws Error when it cannot.
    void remember(const std::string& call, const std::string& choice);

private:
    void read(bool (*valid)(const std::string& choice));

    std::string path_, machine_;
    std::map<std::string, std::string> choices_;
};

}  // namespace mlkd
