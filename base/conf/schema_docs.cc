// What a schema table becomes for readers: the commented default file, the Markdown reference, the JSON Schema.
#include <fmt/core.h>

#include "base/conf/schema.h"

namespace base::conf {
namespace {

using detail::Field;
using detail::Table;

std::string type_text(const Field& f) {
  std::string out;
  for (const auto& c : f.choices) out += (out.empty() ? "" : ", ") + c;
  if (!f.choices.empty()) out = "one of " + out;
  else out = f.limits.or_number ? f.type + " or integer" : f.type;
  if (const std::string r = detail::range_text(f); !r.empty()) out += ", " + r;
  return f.is_list ? "list of " + out : out;
}

void comment(std::string& out, const std::string& indent, const std::string& text) {
  constexpr size_t kWidth = 100;
  size_t at = 0;
  while (at < text.size()) {
    size_t n = std::min(kWidth, text.size() - at);
    if (at + n < text.size())
      if (size_t space = text.rfind(' ', at + n); space != std::string::npos && space > at) n = space - at;
    out += indent + "# " + text.substr(at, n) + "\n";
    at += n;
    while (at < text.size() && text[at] == ' ') ++at;
  }
}

void write_defaults(const Table& t, const void* owner, const std::string& indent, std::string& out) {
  for (const Field& f : t.fields) {
    if (f.nested && !f.is_list) {
      out += "\n";
      comment(out, indent, f.help);
      out += indent + f.key + ":\n";
      write_defaults(*f.nested, f.inside(owner), indent + "  ", out);
      continue;
    }
    std::string help = f.help;
    if (f.nested) {
      help += " (keys:";
      for (const Field& x : f.nested->fields) help += " " + x.key;
      help += ")";
    } else {
      help += " (" + type_text(f) + ")";
    }
    comment(out, indent, help);
    out += indent + f.key + ": " + f.show(owner) + "\n";
  }
}

std::string escaped_cell(std::string s) {
  for (size_t i = 0; (i = s.find('|', i)) != std::string::npos; i += 2) s.insert(i, "\\");
  return s;
}

void write_markdown(const Table& t, const void* owner, const std::string& path, std::string& out) {
  if (!path.empty()) out += "\n## " + path + "\n\n" + t.help + ".\n";
  out += "\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n";
  for (const Field& f : t.fields) {
    const bool group = f.nested && !f.is_list;
    const std::string type = group ? "group" : f.nested ? "list of groups" : type_text(f);
    const std::string shown = group ? "see below" : f.required ? "required" : "`" + f.show(owner) + "`";
    out += fmt::format("| `{}` | {} | {} | {} |\n", f.key, escaped_cell(type), escaped_cell(shown), escaped_cell(f.help));
  }
  for (const Field& f : t.fields) {
    if (!f.nested) continue;
    const std::string below = (path.empty() ? "" : path + ".") + f.key + (f.is_list ? "[]" : "");
    write_markdown(*f.nested, f.is_list ? f.nested->defaults.get() : f.inside(owner), below, out);
  }
}

std::string json_text(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string object_schema(const Table& t, const std::string& indent);

std::string scalar_schema(const Field& f) {
  if (!f.choices.empty()) {
    std::string words;
    for (const auto& c : f.choices) words += (words.empty() ? "" : ", ") + json_text(c);
    return "{\"enum\": [" + words + "]}";
  }
  if (f.type == "bool") return "{\"type\": \"boolean\"}";
  if (f.type == "size") return "{\"type\": [\"string\", \"integer\"], \"pattern\": \"^[0-9]+(B|KiB|MiB|GiB)?$\"}";
  if (f.type == "duration") return "{\"type\": \"string\", \"pattern\": \"^(0|([0-9]+(h|m|s|ms|us|ns))+)$\"}";
  if (f.type == "string" && f.limits.or_number) return "{\"type\": [\"string\", \"integer\"]}";
  if (f.type != "integer") return "{\"type\": \"string\"}";
  std::string out = "{\"type\": \"integer\"";
  const Limits none;
  if (f.limits.min != none.min) out += fmt::format(", \"minimum\": {}", f.limits.min);
  if (f.limits.max != none.max) out += fmt::format(", \"maximum\": {}", f.limits.max);
  return out + "}";
}

std::string field_schema(const Field& f, const std::string& indent) {
  std::string one = f.nested ? object_schema(*f.nested, indent) : scalar_schema(f);
  if (f.is_list) one = "{\"type\": \"array\", \"items\": " + one + "}";
  if (f.nested && !f.is_list) return one;  // carries its own description
  return "{\"description\": " + json_text(f.help) + ", " + one.substr(1);
}

std::string object_schema(const Table& t, const std::string& indent) {
  std::string out = "{\"description\": " + json_text(t.help) + ", \"type\": [\"object\", \"null\"], \"additionalProperties\": false, ";
  std::string required, properties;
  for (const Field& f : t.fields) {
    if (f.required) required += (required.empty() ? "" : ", ") + json_text(f.key);
    properties += (properties.empty() ? "\n" : ",\n") + indent + "  " + json_text(f.key) + ": " + field_schema(f, indent + "  ");
  }
  if (!required.empty()) out += "\"required\": [" + required + "], ";
  return out + "\"properties\": {" + properties + "\n" + indent + "}}";
}

}  // namespace

std::string default_file(const Table& t) {
  std::string out;
  comment(out, "", t.help);
  write_defaults(t, t.defaults.get(), "", out);
  return out;
}

std::string markdown_reference(const Table& t) {
  std::string out;
  write_markdown(t, t.defaults.get(), "", out);
  return out;
}

std::string json_schema(const Table& t, std::string_view title) {
  return "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": " + json_text(title) + ", " + object_schema(t, "").substr(1) +
         "\n";
}

}  // namespace base::conf
