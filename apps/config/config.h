#pragma once
// The configuration of a run: mdistiller's key names in lower case, in JSON with comments, with dotted overrides from the
// command line. Every key, its default and what it allows stands in apps/config/config_keys.h; docs/recipes.md explains them.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/optimizers/optimizers.h"
#include "losses/methods.h"

namespace mlkd {

struct Config {
    struct Experiment {
        std::string project = "distill";
        std::string name;  // empty: the tag
        std::string tag = "default";
    } experiment;

    struct Dataset {
        std::string type = "auto";  // what the data must be; auto: whatever lies there
        std::string path;           // a folder, or synthetic[:IMAGES[:CLASSES]], see data/readers/load.h
        int train_images = 0;  // the first so many; 0: all
        int num_workers = 1;
        struct Test {
            int batch_size = 64;
            int images = 0;  // the first so many; 0: all
        } test;
    } dataset;

    struct Distiller {
        Choice<Method> method = all_methods();  // distiller.type, and the settings of each
        std::string teacher;  // models, see network_names()
        std::string student = "resnet8x4";
        std::string teacher_checkpoint;
    } distiller;

    struct Solver {
        Choice<Optimizer> optimizer = all_optimizers();  // solver.type, and the settings of each
        int batch_size = 64;
        int epochs = 240;
        double lr = 0.05;
        std::vector<int> lr_decay_stages = {150, 180, 210};  // after each of these epochs, counted from 1
        double lr_decay_rate = 0.1;
        std::string schedule = "step";  // or cosine, see learning_rate()
        int warmup_epochs = 0;
        double label_smoothing = 0;
        std::uint64_t seed = 0;
    } solver;

    struct Log {
        std::string prefix = "output";
        int save_checkpoint_freq = 0;  // epochs between checkpoints that are kept; 0: none besides best and last
    } log;

    std::string device = "auto";
    int threads = 0;     // 0: OMP_NUM_THREADS, else all cores
    std::string precision = "auto";  // see DeviceOptions
    std::string products = "fp32";   // see DeviceOptions
    bool graph = true;               // on a GPU, a step as one CUDA graph; the same bits without
    bool nondeterministic = false;   // on a GPU, also convolutions whose last bits change from run to run
    bool deterministic = false;      // convolutions by fixed rules in place of timing; see DeviceOptions
    std::string output;  // the run's folder; empty: see output_folder()
};

// The file's settings over the defaults, and the overrides ("solver.lr=0.1": JSON, else a string) over both. An empty path means
// no file. Throws UsageError in one line with the place (file:line, or "command line"), the key, and for an unknown key the
// nearest known one, for a wrong type what was expected, for an impossible value what is allowed; for bad syntax
// file:line:column; for overrides that contradict each other both; and for settings under which nothing is learnt.
Config load_config(const std::string& path, const std::vector<std::string>& overrides);

// All keys with their values: as a file, it loads to the same configuration.
nlohmann::ordered_json to_json(const Config& config);

// 16 hexadecimal digits that change with whatever determines the numbers of a run, and with nothing else: not with
// experiment, log, the device and threads, fp32 in place of tf32, output, where the data lie, nor with the settings of a
// method that is not in use. The precision bf16 is another run, and so is a deterministic one.
std::string config_hash(const Config& config);
// The key that decides whether this one is read, where it decides against it ("distiller.type"); nullptr for a key in use.
const char* out_of_use_by(const Config& config, const std::string& key);
// Whether the key is one of those that the hash takes in.
bool determines_numbers(const Config& config, const std::string& key);
// settings_of() without the keys that do not determine numbers on any device, nor files' names: what a checkpoint says of its run.
nlohmann::ordered_json numeric_settings(const Config& config);

// A flat object of dotted keys and values, and back; keys that it lacks have their defaults. Throws UsageError with `place`.
nlohmann::ordered_json settings_of(const Config& config);
Config config_of(const nlohmann::ordered_json& settings, const std::string& place);

// Of an epoch, counted from 1. step: lr · lr_decay_rate^k with k the number of decay stages that are less than the epoch. cosine:
// lr · (1 + cos(π · t)) / 2 with t the share of the epochs after the warm-up that are over. In warm-up epoch e of w it is e / (w + 1) times
// that.
double learning_rate(const Config::Solver& solver, int epoch);

// `output`, else log.prefix/project/name with whatever is awkward in a file name replaced by '_'.
std::string output_folder(const Config& config);

// The keys, dotted, in the order of to_json().
std::vector<std::string> config_keys();

// The methods' keys as rows of a table in Markdown: "| `kd.temperature` | `4.0` | T |".
std::vector<std::string> method_key_rows();

// The key whose last part is this name in any case ("LR": "solver.lr"), of several the solver's or the first; "" for none.
std::string key_ending_in(const std::string& name);

}  // namespace mlkd
