// mlkd: trains CIFAR networks and distils them. One line and an exit code for whatever goes wrong.
#include <fmt/format.h>

#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "apps/commands/commands.h"
#include "apps/commands/usage.h"
#include "apps/output.h"
#include "apps/report.h"

namespace {

int report_failure(const std::string& message, mlkd::ExitCode code) {
    mlkd::print_error(message);
    return static_cast<int>(code);
}

// CLI11's answer to --help and --version.
mlkd::ExitCode print_answer(const CLI::App& app, const CLI::ParseError& error) {
    std::ostringstream text;
    app.exit(error, text, text);
    mlkd::print_text(text.str());
    return mlkd::ExitCode::done;
}

}  // namespace

int main(int argc, char** argv) {
    using mlkd::ExitCode;
    mlkd::open_standard_streams();
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
    mlkd::check_values(app);
    std::vector<std::string> arguments;
    try {
        arguments = mlkd::plain_arguments(argc, argv);
        app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them from the back
        return static_cast<int>(mlkd::finish_output(exit_code));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return static_cast<int>(mlkd::finish_output(print_answer(app, error)));
        return report_failure(mlkd::usage_message(app, error, arguments), ExitCode::usage);
    } catch (const mlkd::Error& error) {
        return report_failure(error.what(), error.code());
    } catch (const std::bad_alloc&) {
        return report_failure("out of memory", ExitCode::runtime_error);
    } catch (const std::exception& error) {
        return report_failure(error.what(), ExitCode::runtime_error);
    }
}
