#pragma once
// Settings that an exchangeable part of the program brings along: those of an optimizer, of a loss. The part shows each of
// them to a visitor, by key; the configuration reads, writes, lists and hashes them in this way, and need not know the part.
//
//     void settings(SettingVisitor& visitor) override {
//         visitor.visit("momentum", momentum, rules::below_one, "of the last step's direction");
//     }
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace mlkd {

// Which values a key allows, in words and as a test.
template <class T>
struct Rule {
    const char* allowed;
    bool (*holds)(const T&);
};

// A name out of a list. find(text) is the name that the text means, or "" for none: where capitals do not matter, say.
struct NameRule {
    std::vector<std::string> (*names)();
    std::string (*find)(const std::string& text);
};

class SettingVisitor {
public:
    virtual ~SettingVisitor() = default;
    // `meaning`: a phrase for the table of keys in the docs.
    virtual void visit(const char* key, bool& value, const Rule<bool>& rule, const char* meaning) = 0;
    virtual void visit(const char* key, double& value, const Rule<double>& rule, const char* meaning) = 0;
    virtual void visit(const char* key, int& value, const Rule<int>& rule, const char* meaning) = 0;
    virtual void visit(const char* key, std::vector<double>& value, const Rule<std::vector<double>>& rule, const char* meaning) = 0;
    virtual void visit(const char* key, std::string& value, const NameRule& rule, const char* meaning) = 0;
};

// One of the parts of a kind, among which the configuration chooses by name.
class Part {
public:
    virtual ~Part() = default;
    virtual const char* name() const = 0;
    virtual void settings(SettingVisitor& visitor) = 0;
};

// A visitor that calls visit(key, value, rule, meaning), generic in the type of the value.
template <class Visit>
class GenericVisitor final : public SettingVisitor {
public:
    explicit GenericVisitor(Visit& visit) : visit_(visit) {}
    void visit(const char* key, bool& value, const Rule<bool>& rule, const char* meaning) override { visit_(key, value, rule, meaning); }
    void visit(const char* key, double& value, const Rule<double>& rule, const char* meaning) override {
        visit_(key, value, rule, meaning);
    }
    void visit(const char* key, int& value, const Rule<int>& rule, const char* meaning) override { visit_(key, value, rule, meaning); }
    void visit(const char* key, std::vector<double>& value, const Rule<std::vector<double>>& rule, const char* meaning) override {
        visit_(key, value, rule, meaning);
    }
    void visit(const char* key, std::string& value, const NameRule& rule, const char* meaning) override {
        visit_(key, value, rule, meaning);
    }

private:
    Visit& visit_;
};

template <class Visit>
void for_each_setting(Part& part, Visit&& visit) {
    GenericVisitor<std::remove_reference_t<Visit>> visitor(visit);
    part.settings(visitor);
}

// A setting by key, for parts that are made without a configuration. A flag is 0 or 1; a number is a list of one, too.
struct Assignment {
    const char* key;
    std::variant<double, std::vector<double>, std::string> value;
};
// Throws Error where there is no such key of that type, or its rule forbids the value.
void set(Part& part, const Assignment& assignment);
bool has_setting(Part& part, const std::string& key);

namespace rules {
inline constexpr Rule<bool> flag{"true or false", [](const bool&) { return true; }};
inline constexpr Rule<double> positive{"a number greater than 0", [](const double& v) { return v > 0; }};
inline constexpr Rule<double> weight{"0 or more", [](const double& v) { return v >= 0; }};
inline constexpr Rule<double> below_one{"0 or more, and less than 1 in float32",
                                        [](const double& v) { return v >= 0 && static_cast<float>(v) < 1; }};
}  // namespace rules

}  // namespace mlkd
