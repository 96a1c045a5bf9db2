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
constexpr const char* no_method = "a method of mdistiller that is not here";
constexpr const char* no_half = "not computed here; the 16-bit type is bf16";
constexpr const char* any_idx = "any IDX set but MNIST and Fashion-MNIST is idx here";

constexpr ForeignName foreign_names[] = {
    {"distiller.type", "mlkd", released},
    {"distiller.type", "kd_ours", released},
    {"distiller.type", "vanilla", "a network alone is none here"},
    {"distiller.type", "at", no_method},
    {"distiller.type", "crd", no_method},
    {"distiller.type", "dkd", no_method},
    {"distiller.type", "fitnet", no_method},
    {"distiller.type", "kdsvd", no_method},
    {"distiller.type", "nst", no_method},
    {"distiller.type", "ofd", no_method},
    {"distiller.type", "pkt", no_method},
    {"distiller.type", "reviewkd", no_method},
    {"distiller.type", "rkd", no_method},
    {"distiller.type", "sp", no_method},
    {"distiller.type", "vid", no_method},
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
    {"", "logit_stand", "it is kd.logit_standardization or mlkd.logit_standardization here"},
    {"", "trainer", "distiller.type implies it"},
    {"", "tensorboard_freq", "there is no such log; a run writes metrics.jsonl"},
    {"", "wandb", "there is no such log; a run writes metrics.jsonl"},
};

}  // namespace

std::string foreign_name(const std::string& key, const std::string& name) {
    const std::string small = lower_case(name);
    const auto found = std::find_if(std::begin(foreign_names), std::end(foreign_names),
                                    [&](const ForeignName& foreign) { return foreign.key == key && foreign.name == small; });
    return found == std::end(foreign_names) ? std::string() : found->meaning;
}

}  // namespace mlkd
