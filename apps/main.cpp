// mlkd: trains CIFAR networks and distils them. One line and an exit code for whatever goes wrong.
#include <fmt/format.h>

#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "apps/commands/commands.h"
#include "apps/report.h"
#include "engine/nearest.h"

namespace {

int report_failure(const std::string& message, mlkd::ExitCode code) {
    std::fflush(stdout);
    fmt::print(stderr, "mlkd: {}\n", message);
    return static_cast<int>(code);
}

std::string unknown_command(const CLI::App& app, const std::string& command) {
    std::vector<std::string> known;
    for (const CLI::App* subcommand : app.get_subcommands([](const CLI::App*) { return true; })) known.push_back(subcommand->get_name());
    return fmt::format("unknown command '{}'; did you mean '{}'? (see mlkd --help)", command, mlkd::nearest(command, known));
}

}  // namespace

int main(int argc, char** argv) {
    using mlkd::ExitCode;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return report_failure("this binary needs a processor with AVX2 and FMA; configure with -DMLKD_MARCH=x86-64 for older ones",
                              ExitCode::runtime_error);
    CLI::App app{"mlkd: trains image classifiers and distils a teacher into a student with multi-level logit distillation"};
    app.name("mlkd");
    app.require_subcommand(1);
    app.set_version_flag("--version", mlkd::program_version());
    ExitCode exit_code = ExitCode::done;
    mlkd::add_train_command(app, exit_code);
    mlkd::add_eval_command(app, exit_code);
    mlkd::add_figures_command(app, exit_code);
    mlkd::add_bench_command(app, exit_code);
    mlkd::add_models_command(app, exit_code);
    mlkd::add_doctor_command(app, exit_code);
    try {
        app.parse(argc, argv);
        return static_cast<int>(exit_code);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);  // help or version
        if (argc > 1 && argv[1][0] != '-' && app.get_subcommands().empty()) return report_failure(unknown_command(app, argv[1]), ExitCode::usage);
        return report_failure(fmt::format("{} (see mlkd --help)", error.what()), ExitCode::usage);
    } catch (const mlkd::Error& error) {
        return report_failure(error.what(), error.code());
    } catch (const std::bad_alloc&) {
        return report_failure("out of memory", ExitCode::runtime_error);
    } catch (const std::exception& error) {
        return report_failure(error.what(), ExitCode::runtime_error);
    }
}
