#pragma once
// All parts of a kind, each with its settings, and the name of the one that is chosen. A value: copies are independent.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"

namespace mlkd {

// P: a Part with `std::unique_ptr<P> clone() const`.
template <class P>
struct Choice {
    std::vector<std::unique_ptr<P>> parts;
    std::string chosen;  // the name of one of them

    Choice(std::vector<std::unique_ptr<P>> all, std::string name) : parts(std::move(all)), chosen(std::move(name)) {}
    Choice(const Choice& other) : chosen(other.chosen) {
        for (const auto& part : other.parts) parts.push_back(part->clone());
    }
    Choice(Choice&&) = default;
    Choice& operator=(Choice other) {
        parts.swap(other.parts);
        chosen.swap(other.chosen);
        return *this;
    }
    ~Choice() = default;

    P& operator*() const {
        for (const auto& part : parts)
            if (part->name() == chosen) return *part;
        throw Error("no part is called '" + chosen + "'");
    }
    P* operator->() const { return &**this; }

    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& part : parts) all.emplace_back(part->name());
        return all;
    }
};

}  // namespace mlkd
