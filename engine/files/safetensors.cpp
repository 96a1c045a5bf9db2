#include "engine/files/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/error.h"
#include "engine/files/atomic_file.h"
#include "engine/files/foreign_format.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

static_assert(std::endian::native == std::endian::little, "the format's numbers are little-endian and are copied as they are");

using Json = nlohmann::ordered_json;

constexpr std::uint64_t max_header_bytes = 100'000'000;  // as the official library
constexpr int max_depth = 3;                             // {name: {shape: [...]}}

struct TypeName {
    DType dtype;
    const char* name;
};
// In the order in which the official library writes them: wide types first keep every tensor aligned.
constexpr TypeName type_names[] = {{DType::i64, "I64"}, {DType::f64, "F64"},   {DType::f32, "F32"},
                                   {DType::i32, "I32"}, {DType::bf16, "BF16"}, {DType::u8, "U8"}};

const TypeName& type_name(DType dtype) {
    for (const TypeName& type : type_names)
        if (type.dtype == dtype) return type;
    throw Error("safetensors: unknown element type");
}

std::optional<DType> parse_type(const std::string& name) {
    for (const TypeName& type : type_names)
        if (name == type.name) return type.dtype;
    return std::nullopt;
}

// Bytes of a tensor, or nothing where a dimension is negative or the product overflows.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, DType dtype) {
    std::int64_t total = static_cast<std::int64_t>(size_of(dtype));
    // A zero anywhere makes an empty tensor, however large the other extents are.
    for (const std::int64_t extent : shape)
        if (extent < 0) return std::nullopt;
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
    for (const std::int64_t extent : shape)
        if (__builtin_mul_overflow(total, extent, &total)) return std::nullopt;
    return static_cast<std::uint64_t>(total);
}

class InputFile {
public:
    explicit InputFile(const std::string& path) : path_(path) {
        struct stat status {};
        // Looked at before it is opened: opening a pipe would wait for its other end.
        if (::stat(path.c_str(), &status) != 0) fail(std::strerror(errno));
        if (!S_ISREG(status.st_mode)) fail(S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file");
        descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (descriptor_ < 0) fail(std::strerror(errno));
        if (::fstat(descriptor_, &status) != 0) fail(std::strerror(errno));
        size_ = static_cast<std::uint64_t>(status.st_size);
    }
    ~InputFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    [[noreturn]] void fail(const std::string& reason) const { throw Error(path_ + ": " + reason); }
    std::uint64_t size() const { return size_; }

    void read(void* out, std::uint64_t bytes, std::uint64_t offset) const {
        auto* next = static_cast<std::byte*>(out);
        while (bytes > 0) {
            const ssize_t count = ::pread(descriptor_, next, bytes, static_cast<off_t>(offset));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) fail(std::string("cannot read: ") + std::strerror(errno));
            if (count == 0) fail("the file became shorter while it was read");
            next += count;
            offset += static_cast<std::uint64_t>(count);
            bytes -= static_cast<std::uint64_t>(count);
        }
    }

private:
    std::string path_;
    int descriptor_ = -1;
    std::uint64_t size_ = 0;
};

Json parse_header(const InputFile& file, const std::string& text) {
    std::vector<std::set<std::string>> keys;  // of the objects that are open
    const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
        if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
            if (depth >= max_depth) file.fail("damaged header: nested too deeply");
            keys.resize(static_cast<std::size_t>(depth) + 1);
            keys.back().clear();
        }
        if (event == Json::parse_event_t::key && !keys[static_cast<std::size_t>(depth) - 1].insert(value.get<std::string>()).second)
            file.fail("damaged header: " + in_quotes(value.get<std::string>()) + " occurs twice");
        return true;
    };
    // The parser takes a zero byte for the end of its input.
    if (const std::size_t zero = text.find('\0'); zero != std::string::npos)
        file.fail("damaged header: not JSON at byte " + std::to_string(zero + 1));
    try {
        return Json::parse(text, check);
    } catch (const Json::parse_error& error) {
        file.fail("damaged header: not JSON at byte " + std::to_string(error.byte));
    }
}

struct Entry {
    std::string name;
    HostTensor tensor;  // without its bytes
    std::uint64_t begin = 0, end = 0;
};

std::int64_t integer(const InputFile& file, const Json& value, const std::string& what) {
    const bool fits = value.is_number_unsigned()
                          ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
                          : value.is_number_integer() && value.get<std::int64_t>() >= 0;
    if (!fits) file.fail("damaged header: " + what + " has an entry that is not a count");
    return value.get<std::int64_t>();
}

Entry parse_entry(const InputFile& file, const std::string& name, const Json& value) {
    const std::string who = "tensor " + in_quotes(name);
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() || !value.contains("shape") ||
        !value["shape"].is_array() || !value.contains("data_offsets") || !value["data_offsets"].is_array() ||
        value["data_offsets"].size() != 2)
        file.fail("damaged header: " + who + " lacks a proper dtype, shape or data_offsets");
    Entry entry;
    entry.name = name;
    const std::string type = value["dtype"].get<std::string>();
    const std::optional<DType> dtype = parse_type(type);
    if (!dtype) file.fail(who + " has element type " + in_quotes(type) + "; known are F32, F64, BF16, U8, I32, I64");
    entry.tensor.dtype = *dtype;
    for (const Json& extent : value["shape"]) entry.tensor.shape.push_back(integer(file, extent, "the shape of " + who));
    entry.begin = static_cast<std::uint64_t>(integer(file, value["data_offsets"][0], "data_offsets of " + who));
    entry.end = static_cast<std::uint64_t>(integer(file, value["data_offsets"][1], "data_offsets of " + who));
    if (entry.end < entry.begin) file.fail("damaged header: data_offsets of " + who + " run backwards");
    const std::optional<std::uint64_t> expected = byte_count(entry.tensor.shape, *dtype);
    if (!expected || *expected != entry.end - entry.begin)
        file.fail("damaged header: " + who + " of " + type + " and shape " + entry.tensor.shape_text() + " cannot have " +
                  std::to_string(entry.end - entry.begin) + " bytes");
    return entry;
}

std::map<std::string, std::string> parse_metadata(const InputFile& file, const Json& value) {
    if (!value.is_object()) file.fail("damaged header: __metadata__ is not an object");
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) file.fail("damaged header: metadata " + in_quotes(key) + " is not a string");
        metadata[key] = text.get<std::string>();
    }
    return metadata;
}

// Offsets must cover the data exactly: in order, without overlaps, holes or bytes left over.
void check_layout(const InputFile& file, std::vector<Entry>& entries, std::uint64_t data_bytes) {
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    std::uint64_t covered = 0;
    for (const Entry& entry : entries) {
        const std::string who = "tensor " + in_quotes(entry.name);
        if (entry.end > data_bytes)
            file.fail("truncated: " + who + " ends at byte " + std::to_string(entry.end) + " of the data, which has " +
                      std::to_string(data_bytes));
        if (entry.begin < covered) file.fail("damaged header: " + who + " overlaps the tensor before it");
        if (entry.begin > covered) file.fail("damaged header: a hole before " + who);
        covered = entry.end;
    }
    if (covered != data_bytes) file.fail(std::to_string(data_bytes - covered) + " bytes after the last tensor belong to none");
}

}  // namespace

std::int64_t HostTensor::elements() const {
    std::int64_t product = 1;
    for (const std::int64_t extent : shape) product *= extent;
    return product;
}

std::string HostTensor::shape_text() const {
    std::string out = "(";
    for (std::size_t axis = 0; axis < shape.size() && axis < 8; ++axis) out += (axis ? ", " : "") + std::to_string(shape[axis]);
    return out + (shape.size() > 8 ? ", ...)" : ")");
}

HostTensor HostTensor::zeros(DType dtype, std::vector<std::int64_t> shape) {
    const std::optional<std::uint64_t> bytes = byte_count(shape, dtype);
    MLKD_CHECK(bytes.has_value(), "host tensor: impossible shape");
    return HostTensor{dtype, std::move(shape), std::vector<std::byte>(*bytes)};
}

void HostTensor::require(DType expected) const {
    if (dtype != expected)
        throw Error(std::string("host tensor: asked for ") + name_of(expected) + " of a tensor of " + name_of(dtype));
}

void HostTensor::assign(std::span<const std::byte> source) {
    MLKD_CHECK(source.size() == bytes.size(), "host tensor: as many values as the shape " + shape_text() + " says");
    std::copy(source.begin(), source.end(), bytes.begin());
}

const HostTensor& SafetensorsFile::tensor(const std::string& name) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw Error("no tensor \"" + name + "\"");
    return found->second;
}

const std::string& SafetensorsFile::meta(const std::string& name) const {
    const auto found = metadata.find(name);
    if (found == metadata.end()) throw Error("no metadata \"" + name + "\"");
    return found->second;
}

SafetensorsFile read_safetensors(const std::string& path) {
    const InputFile file(path);
    if (file.size() == 0) file.fail("the file is empty");
    if (file.size() < 8) file.fail("truncated: " + std::to_string(file.size()) + " bytes are too few for a safetensors file");
    std::uint64_t header_bytes = 0;
    file.read(&header_bytes, 8, 0);
    std::string start(std::min<std::uint64_t>(file.size(), foreign_format_bytes), '\0');
    file.read(start.data(), start.size(), 0);
    // A header's first byte behind its length tells our format even where the length looks like a signature.
    if (const std::string foreign = start.size() > 8 && start[8] == '{' ? "" : foreign_format(start); !foreign.empty())
        file.fail(foreign + " (this program reads safetensors)");
    // In this order a file of an unknown format is told from one that lost its end.
    if (header_bytes > max_header_bytes)
        file.fail("not a safetensors file (header length " + std::to_string(header_bytes) + ", at most " +
                  std::to_string(max_header_bytes) + ")");
    if (header_bytes > file.size() - 8)
        file.fail("truncated: the header has " + std::to_string(header_bytes) + " bytes, the file " + std::to_string(file.size()));
    std::string text(header_bytes, '\0');
    file.read(text.data(), header_bytes, 8);
    if (text.empty() || text.front() != '{') file.fail("not a safetensors file (its header is no JSON object)");

    const Json header = parse_header(file, text);
    SafetensorsFile result;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
        if (name == "__metadata__")
            result.metadata = parse_metadata(file, value);
        else
            entries.push_back(parse_entry(file, name, value));
    }
    check_layout(file, entries, file.size() - 8 - header_bytes);
    for (Entry& entry : entries) {
        try {
            entry.tensor.bytes.resize(entry.end - entry.begin);
        } catch (const std::bad_alloc&) {
            file.fail("not enough memory for tensor " + in_quotes(entry.name));
        }
        file.read(entry.tensor.bytes.data(), entry.tensor.bytes.size(), 8 + header_bytes + entry.begin);
        result.tensors.emplace(std::move(entry.name), std::move(entry.tensor));
    }
    return result;
}

void write_safetensors(const std::string& path, const SafetensorsFile& file) {
    std::vector<const std::pair<const std::string, HostTensor>*> order;
    for (const auto& item : file.tensors) {
        MLKD_CHECK(item.first != "__metadata__", "safetensors: a tensor cannot be named __metadata__");
        MLKD_CHECK(byte_count(item.second.shape, item.second.dtype) == item.second.bytes.size(),
                   "safetensors: the bytes of \"" + item.first + "\" do not fit its shape");
        order.push_back(&item);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](auto* a, auto* b) { return &type_name(a->second.dtype) < &type_name(b->second.dtype); });

    Json header = Json::object();
    if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
    std::uint64_t offset = 0;
    for (const auto* item : order) {
        const std::uint64_t end = offset + item->second.bytes.size();
        header[item->first] = {
            {"dtype", type_name(item->second.dtype).name}, {"shape", item->second.shape}, {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const Json::type_error&) {
        throw Error(path + ": cannot write: a name or a metadata string is not UTF-8");
    }
    text.append((8 - text.size() % 8) % 8, ' ');
    const std::uint64_t header_bytes = text.size();
    if (header_bytes > max_header_bytes) throw Error(path + ": cannot write: the header is too large");
    write_file_atomically(path, [&](FileSink& sink) {
        sink.write(std::as_bytes(std::span(&header_bytes, 1)));
        sink.write(text);
        for (const auto* item : order) sink.write(item->second.bytes);
    });
}

}  // namespace mlkd
