#include "apps/figures/figures.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "apps/figures/correlation.h"
#include "apps/figures/figure_script.h"
#include "apps/figures/npy.h"
#include "engine/error.h"
#include "tests/support/python.h"
#include "tests/support/sources.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using test::read_bytes;
using test::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t classes = 7, images = 23, batch = 10;  // batches of 10, 10 and 3

std::vector<float> random_logits(unsigned seed, float scale = 3, std::int64_t count = images, std::int64_t width = classes) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> logits(static_cast<std::size_t>(count * width));
    for (float& x : logits) x = normal(generator);
    return logits;
}

// |corr(student) − corr(teacher)| of `count` images from `first`, straight from the definition.
std::vector<double> naive_distance(bool input, const std::vector<float>& student, const std::vector<float>& teacher, std::int64_t first,
                                   std::int64_t count, double temperature) {
    const auto p = [&](const std::vector<float>& logits, std::int64_t b, std::int64_t c) {
        double sum = 0;
        for (std::int64_t k = 0; k < classes; ++k)
            sum += std::exp(double{logits[static_cast<std::size_t>((first + b) * classes + k)]} / temperature);
        return std::exp(double{logits[static_cast<std::size_t>((first + b) * classes + c)]} / temperature) / sum;
    };
    const std::int64_t size = input ? count : classes;
    std::vector<double> out;
    for (std::int64_t i = 0; i < size; ++i) {
        for (std::int64_t j = 0; j < size; ++j) {
            double difference = 0;
            for (std::int64_t k = 0; k < (input ? classes : count); ++k)
                difference += input ? p(student, i, k) * p(student, j, k) - p(teacher, i, k) * p(teacher, j, k)
                                    : p(student, k, i) * p(student, k, j) - p(teacher, k, i) * p(teacher, k, j);
            out.push_back(std::abs(difference));
        }
    }
    return out;
}

double naive_mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return sum / static_cast<double>(values.size());
}

std::vector<double> npy_values(const std::string& path) {
    const std::string bytes = read_bytes(path);
    REQUIRE(bytes.size() >= 128);
    std::vector<double> values((bytes.size() - 128) / sizeof(double));
    std::memcpy(values.data(), bytes.data() + 128, values.size() * sizeof(double));
    return values;
}

FigureReport figures_of(const std::string& folder, const std::vector<StudentLogits>& students, const std::vector<float>& teacher,
                        const std::string& gnuplot = "mlkd-no-such-program") {
    FigureOptions options;
    options.folder = folder;
    options.batch = batch;
    options.temperature = 2.5;
    options.gnuplot = gnuplot;
    return write_figures(teacher, classes, students, options);
}

bool has_gnuplot() { return std::system("command -v gnuplot > /dev/null 2>&1") == 0; }

std::string failure(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return "no failure";
}

}  // namespace

TEST_CASE("figures: distances of the first batch and means over all batches are those of the definition") {
    const TemporaryFolder folder;
    const std::vector<float> teacher = random_logits(1), kd = random_logits(2), alone = random_logits(3, 20);
    const FigureReport report = figures_of(folder / "deep/out", {{"KD", kd}, {"alone", alone}}, teacher);
    CHECK(!report.drawn);
    CHECK(report.advice.find("mlkd-no-such-program is not installed; to draw the figures later: cd ") == 0);
    CHECK(figures_of(folder / "an out", {{"KD", kd}}, teacher).advice.find("an out' && gnuplot") != std::string::npos);
    const nlohmann::json summary = nlohmann::json::parse(read_bytes(folder / "deep/out/figures.json"));
    CHECK(summary["images"] == images);
    CHECK(summary["batches"] == 3);
    CHECK(summary["temperature"] == 2.5);
    for (const std::size_t s : {0u, 1u}) {
        const std::vector<float>& student = s == 0 ? kd : alone;
        for (const bool input : {true, false}) {
            CAPTURE(s);
            CAPTURE(input);
            const std::vector<double> expected = naive_distance(input, student, teacher, 0, batch, 2.5);
            const double expected_mean = (naive_mean(expected) + naive_mean(naive_distance(input, student, teacher, 10, 10, 2.5)) +
                                          naive_mean(naive_distance(input, student, teacher, 20, 3, 2.5))) / 3;
            const Distance& distance = input ? report.students[s].input : report.students[s].category;
            CHECK(distance.mean == doctest::Approx(expected_mean).epsilon(1e-12));
            CHECK(distance.batch_mean == doctest::Approx(naive_mean(expected)).epsilon(1e-12));
            CHECK(distance.batch_max == doctest::Approx(*std::max_element(expected.begin(), expected.end())).epsilon(1e-12));
            const std::string base = (folder / "deep/out/") + (input ? "figure1_input_correlation_" : "figure2_category_correlation_");
            const std::string label = s == 0 ? "KD" : "alone";
            const std::vector<double> drawn = npy_values(base + label + "_distance.npy");
            const std::vector<double> own = npy_values(base + label + ".npy"), of_teacher = npy_values(base + "teacher.npy");
            REQUIRE(drawn.size() == expected.size());
            for (std::size_t i = 0; i < drawn.size(); ++i) {
                CHECK(drawn[i] == doctest::Approx(expected[i]).epsilon(1e-9));
                CHECK(drawn[i] == std::abs(own[i] - of_teacher[i]));
            }
            const nlohmann::json& numbers = summary["students"][s][input ? "input_correlation" : "category_correlation"];
            CHECK(numbers["mean"] == distance.mean);
            CHECK(numbers["first_batch_mean"] == distance.batch_mean);
        }
    }
    for (const std::string& name : report.files) CHECK(fs::exists(folder / ("deep/out/" + name)));
}

TEST_CASE("figures: extreme logits and students equal to the teacher") {
    const TemporaryFolder folder;
    std::vector<float> extreme = random_logits(5, 1e30f);
    const FigureReport report = figures_of(folder.path(), {{"same", extreme}, {"other", random_logits(6)}}, extreme);
    CHECK(report.students[0].input.mean == 0);
    CHECK(report.students[0].category.batch_max == 0);
    CHECK(std::isfinite(report.students[1].input.mean));
    CHECK(figure_table(report).find("\nsame            0.0000e+00            0.0000e+00\n") != std::string::npos);
}

TEST_CASE("figures: fewer images than a batch") {
    const TemporaryFolder folder;
    const std::vector<float> teacher = random_logits(1, 3, 4), student = random_logits(2, 3, 4);
    const FigureReport report = figures_of(folder.path(), {{"s", student}}, teacher);
    CHECK(report.students[0].input.mean == report.students[0].input.batch_mean);
    CHECK(npy_values(folder / "figure1_input_correlation_s.npy").size() == 16);
}

TEST_CASE("figures: input without sense is refused before anything is written") {
    const TemporaryFolder folder;
    const std::vector<float> teacher = random_logits(1), student = random_logits(2);
    std::vector<float> broken = student;
    broken[3 * classes + 2] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> shorter(student.begin(), student.end() - classes);
    const std::string out = folder / "out";
    CHECK(failure([&] { figures_of(out, {{"s", shorter}}, teacher); }) ==
          "figures: student \"s\" has 154 logits, the teacher 161: they must come from the same images and classes");
    CHECK(failure([&] { figures_of(out, {{"s", broken}}, teacher); }) == "figures: the logits of student \"s\" are not finite at image 3");
    CHECK(failure([&] { figures_of(out, {{"s", student}}, broken); }) == "figures: the logits of the teacher are not finite at image 3");
    CHECK(failure([&] { figures_of(out, {}, teacher); }) == "figures: no student; name at least one as LABEL=FILE");
    CHECK(failure([&] { figures_of(out, {{"", student}}, teacher); }).find("without a label") != std::string::npos);
    CHECK(failure([&] { figures_of(out, {{"a", student}, {"a", student}}, teacher); }) == "figures: two students are labelled \"a\"");
    CHECK(failure([&] { figures_of(out, {{"a", student}}, {}); }).find("no whole rows") != std::string::npos);
    for (const double temperature : {0.0, -1.0, std::nan("")}) {
        FigureOptions options;
        options.folder = out;
        options.temperature = temperature;
        CHECK(failure([&] {
                  write_figures(teacher, classes, {{"s", student}}, options);
              }).find("is not greater than 0") != std::string::npos);
    }
    CHECK(folder.entries() == 0);
}

TEST_CASE("figures: a folder that cannot be written") {
    const TemporaryFolder folder;
    const std::vector<float> teacher = random_logits(1), student = random_logits(2);
    test::write_bytes(folder / "file", "x");
    CHECK(failure([&] {
              figures_of(folder / "file", {{"s", student}}, teacher);
          }).starts_with((folder / "file") + ": cannot create the folder"));
    CHECK(failure([&] { figures_of(folder / "file/below", {{"s", student}}, teacher); })
              .starts_with((folder / "file/below") + ": cannot create the folder of the figures: Not a directory"));
    CHECK(failure([&] { figures_of("/proc/mlkd", {{"s", student}}, teacher); }).starts_with("/proc/mlkd: cannot create the folder"));
}

TEST_CASE("figures: labels of any kind give safe and distinct file names") {
    const TemporaryFolder folder;
    const std::vector<float> teacher = random_logits(1), student = random_logits(2);
    const std::vector<std::string> labels = {"a/b",       "a_b",      "../up", "it's \"q\" `ls` $(id) @x %s \\n {}^_~",
                                             "ü → ñ",     "<&>",      "teacher", "-rf", ".", std::string(36, 'l')};
    std::vector<StudentLogits> students;
    for (const std::string& label : labels) students.push_back({label, student});
    const FigureReport report = figures_of(folder / "out", students, teacher);
    CHECK(folder.entries() == 1);
    std::set<std::string> names(report.files.begin(), report.files.end());
    CHECK(names.size() == report.files.size());
    CHECK(names.size() == 2 * (2 * labels.size() + 2) + 1);
    for (const std::string& name : names) {
        CHECK(name.find_first_of("/'\"\n `$\\") == std::string::npos);
        CHECK(fs::exists(folder / ("out/" + name)));
    }
    if (!has_gnuplot()) {
        MESSAGE("skipped the drawing: no gnuplot");
        return;
    }
    CHECK(figures_of(folder / "out", students, teacher, "gnuplot").drawn);
    // Drawn as they are; SVG writes <, > and & as entities.
    std::string svg = read_bytes(folder / "out/figure2_category_correlation.svg");
    for (const auto& [entity, character] : {std::pair("&lt;", "<"), {"&gt;", ">"}, {"&amp;", "&"}})
        for (std::size_t at; (at = svg.find(entity)) != std::string::npos;) svg.replace(at, std::strlen(entity), character);
    for (const std::string& label : labels) {
        const bool found = svg.find(">" + label + "<") != std::string::npos;
        CHECK_MESSAGE(found, label);
    }
}

TEST_CASE("figures: labels that cannot be drawn, or would be drawn alike, are refused by name") {
    const TemporaryFolder folder;
    FigureOptions options;
    options.folder = folder / "out";
    const auto refusal = [&](const std::string& label) { return failure([&] { check_figures({"KD", label}, options); }); };
    for (const std::string& label : {std::string("new\nline"), std::string("\x1b[31m"), std::string("\xff"), std::string("\xc3\\\xa9")})
        CHECK(refusal(label).find("label \"" + label + "\" cannot be drawn") != std::string::npos);
    CHECK(refusal(std::string(37, 'l')).find("37 characters") != std::string::npos);
    CHECK(refusal("KD") == "figures: two students are labelled \"KD\"");
    std::string wide;
    for (int i = 0; i < 36; ++i) wide += "ü";
    CHECK(refusal(wide) == "no failure");
    CHECK(refusal("a\\b") == "no failure");
    CHECK(folder.entries() == 0);
}

TEST_CASE("figures: class names from a file are drawn escaped, and two images are the least") {
    const TemporaryFolder folder;
    FigureOptions options;
    options.folder = folder / "out";
    options.gnuplot = "mlkd-no-such-program";
    options.class_names = {"cat\x1b", "dog's", "a\\b"};
    const std::vector<float> teacher = random_logits(1, 3, 2, 3), student = random_logits(2, 3, 2, 3);
    write_figures(teacher, 3, {{"s", student}}, options);
    const std::string script = read_bytes(folder / "out/figure2_category_correlation.gp");
    CHECK(script.find("'cat\\x1b' 0, 'dog''s' 1, 'a\\\\b' 2") != std::string::npos);
    CHECK(script.find('\x1b') == std::string::npos);
    options.folder = folder / "other";
    CHECK(failure([&] {
              write_figures(std::span(teacher).first(3), 3, {{"s", std::span(student).first(3)}}, options);
          }).find("at least 2") != std::string::npos);
    CHECK(!fs::exists(folder / "other"));
}

TEST_CASE("figures: gnuplot draws PNG and SVG, and its script does so again by itself") {
    if (!has_gnuplot()) {
        MESSAGE("skipped: no gnuplot");
        return;
    }
    const TemporaryFolder folder;
    FigureOptions options;
    options.folder = folder.path();
    const std::vector<float> teacher = random_logits(1, 3, 70, 10), student = random_logits(2, 3, 70, 10);
    for (int c = 0; c < 10; ++c) options.class_names.push_back("T-shirt/top's \"" + std::to_string(c));
    const FigureReport report = write_figures(teacher, 10, {{"KD", student}, {"same", teacher}}, options);
    CHECK(report.drawn);
    CHECK(report.advice.empty());
    for (const char* name : {"figure1_input_correlation", "figure2_category_correlation"}) {
        const std::string png = folder / (std::string(name) + ".png"), svg = folder / (std::string(name) + ".svg");
        CHECK(read_bytes(png).starts_with("\x89PNG"));
        CHECK(read_bytes(svg).find("</svg>") != std::string::npos);
        CHECK(read_bytes(svg).find("image-rendering: pixelated") != std::string::npos);
        fs::remove(png);
        CHECK(std::system(("cd " + folder.path() + " && gnuplot " + name + ".gp 2> /dev/null").c_str()) == 0);
        CHECK(read_bytes(png).starts_with("\x89PNG"));
    }
    for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(entry.path().extension() != ".part");
}

TEST_CASE("figures: what gnuplot complains of is passed on, and no drawing stays behind") {
    const TemporaryFolder folder;
    const std::vector<float> teacher = random_logits(1), student = random_logits(2);
    test::write_bytes(folder / "complains",
                      "#!/bin/sh\necho half > figure1_input_correlation.png.part\necho 'line 3: unknown terminal' >&2\nexit 1\n");
    fs::permissions(folder / "complains", fs::perms::owner_all);
    const std::string out = folder / "out";
    CHECK(failure([&] { figures_of(out, {{"s", student}}, teacher, folder / "complains"); }) ==
          (folder / "complains") + " failed on " + out + "/figure1_input_correlation.gp: line 3: unknown terminal");
    CHECK(fs::exists(out + "/figures.json"));
    CHECK(!fs::exists(out + "/figure1_input_correlation.png"));
    CHECK(!fs::exists(out + "/figure1_input_correlation.png.part"));
    test::write_bytes(folder / "not_executable", "x");
    CHECK(failure([&] {
              figures_of(out, {{"s", student}}, teacher, folder / "not_executable");
          }).find("cannot be run: ") != std::string::npos);
    if (::access("/bin/false", X_OK) == 0)
        CHECK(failure([&] { figures_of(out, {{"s", student}}, teacher, "/bin/false"); }).ends_with("without a message"));
}

TEST_CASE("figures: one colour scale for all panels") {
    Figure figure{"f", "Title with a 'quote'", "axis", "scale", 3, 0.25, {}, {{"small", "a.npy", 0.01}, {"large", "b.npy", 0.2}}};
    const std::string script = gnuplot_script(figure);
    CHECK(script.find("largest = 0.25 ") != std::string::npos);
    CHECK(script.find("set cbrange [0:largest]") == script.rfind("set cbrange"));
    CHECK(script.find("'Title with a ''quote'''") != std::string::npos);
    CHECK(script.find("mean 0.10·10^{-1}") != std::string::npos);
    CHECK(script.find("mean 2.00·10^{-1}") != std::string::npos);
}

TEST_CASE("npy: NumPy reads what is written") {
    const TemporaryFolder folder;
    const std::vector<double> values = {0.1, -0.0, 1e-310, 1e300, std::nextafter(1.0, 2.0), 3};
    write_npy(folder / "m.npy", values, 2, 3);
    const std::string bytes = read_bytes(folder / "m.npy");
    CHECK(bytes.size() == 128 + 6 * 8);
    CHECK(bytes.starts_with(std::string("\x93NUMPY\1\0\x76\0{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", 69)));
    CHECK(bytes[127] == '\n');
    CHECK(npy_values(folder / "m.npy") == values);
    CHECK_THROWS_AS(write_npy(folder / "m.npy", values, 3, 3), Error);

    const fs::path root = test::sources();
    const std::string python = (root / ".venv/bin/python").string();
    if (!test::python_has(python, "numpy")) {
        MESSAGE("skipped: no numpy in " << python);
        return;
    }
    const std::string program = "import numpy, sys; m = numpy.load(sys.argv[1]); assert m.shape == (2, 3) and m.dtype == numpy.float64; "
                                "assert m.tolist() == [[0.1, 0.0, 1e-310], [1e300, 1 + 2**-52, 3.0]] and numpy.signbit(m[0, 1])";
    CHECK(std::system((python + " -c '" + program + "' " + (folder / "m.npy")).c_str()) == 0);
}
