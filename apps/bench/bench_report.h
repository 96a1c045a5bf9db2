#pragma once
// The benchmarks' results: a line of a table each, and Google Benchmark's JSON.
#include <benchmark/benchmark.h>

#include <sstream>
#include <string>

namespace mlkd {

class BenchReporter final : public benchmark::BenchmarkReporter {
public:
    // names_width: of the longest name.
    explicit BenchReporter(std::size_t names_width);

    bool ReportContext(const Context& context) override;
    void ReportRuns(const std::vector<Run>& runs) override;
    void Finalize() override;

    std::string json() const { return json_text_.str(); }

private:
    std::size_t names_width_;
    std::ostringstream json_text_;
    benchmark::JSONReporter json_;
};

}  // namespace mlkd
