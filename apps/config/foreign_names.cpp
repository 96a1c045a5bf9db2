#include "apps/config/foreign_names.h"

#include <algorithm>
#include <iterator>

#include "apps/config/lower_case.h"

namespace mlkd {
namespace {

struct ForeignName {
    const char* key;
    const char* name;  // in lower case
    const char* meaning;
};

constexpr const char* released = "what the released code computes is mlkd_official here; mlkd is the method as the paper defines it";
constexpr const char* no_half = "not computed here; the 16-bit type is bf16";
constexpr const char* any_idx = "any IDX set but MNIST and Fashion-MNIST is idx here";

constexpr ForeignName foreign_names[] = {
    {"distiller.type", "mlkd", released},
    {"distiller.type", "kd_ours", released},
    {"distiller.type", "vanilla", "a network alone is none here"},
    {"mlkd.divergence", "l2", "the squared distance of the matrices is frobenius here"},
    {"mlkd.divergence", "mse", "the squared distance of the matrices is frobenius here"},
    {"mlkd.divergence", "kl_div", "it is kl here"},
    {"mlkd.divergence", "kldivloss", "it is kl here"},
    {"dataset.type", "kmnist", any_idx},
    {"dataset.type", "qmnist", any_idx},
    {"precision", "amp", no_half},
    {"precision", "fp16", no_half},
    {"precision", "float16", no_half},
    {"precision", "half", no_half},
    {"precision", "bfloat16", "it is bf16 here"},
    {"precision", "float32", "it is fp32 here"},
    {"precision", "tensorfloat32", "it is tf32 here"},
    {"device", "gpu", "it is cuda here"},
    {"", "learning_rate", "it is solver.lr here"},
    {"", "wd", "it is solver.weight_decay here"},
    {"", "logit_stand", "it is logit_standardization in the method's section here, such as kd.logit_standardization"},
    {"", "trainer", "distiller.type implies it"},
    {"", "tensorboard_freq", "there is no such log; a run writes metrics.jsonl"},
    {"", "wandb", "there is no such log; a run writes metrics.jsonl"},
};

// mdistiller's methods, in lower case. Those that are here are never looked for.
constexpr const char* mdistiller_methods[] = {"at", "crd", "dkd", "fitnet", "kdsvd", "nst", "ofd", "pkt", "reviewkd", "rkd", "sp", "vid"};

}  // namespace

std::string missing_method(const std::string& name) {
    const std::string small = lower_case(name);
    const bool theirs =
        std::any_of(std::begin(mdistiller_methods), std::end(mdistiller_methods), [&](const char* each) { return small == each; });
    return theirs ? "a method of mdistiller that is not here" : "";
}

std::string foreign_name(const std::string& key, const std::string& name) {
    const std::string small = lower_case(name);
    const auto found = std::find_if(std::begin(foreign_names), std::end(foreign_names),
                                    [&](const ForeignName& foreign) { return foreign.key == key && foreign.name == small; });
    return found == std::end(foreign_names) ? std::string() : found->meaning;
}

}  // namespace mlkd
