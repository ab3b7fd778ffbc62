#include "base/kube/json_objects.h"

#include "base/kube/json_fields.h"
#include "base/kube/object_body.h"

namespace base::kube {
namespace {

using simdjson::dom::element;

constexpr size_t kKeepBytes = 1 << 20;  // a parser that has seen more is made anew: its memory is many times the text's

std::string_view text_at(element e, std::string_view key) {
  std::string_view out;
  if (e.at_key(key).get(out)) return {};
  return out;
}


ObjectName id_of(Kind kind, element meta) {
  ObjectName id;
  id.name = text_at(meta, "name");
  if (!is_cluster_scoped(kind)) id.ns = text_at(meta, "namespace");
  if (!is_cluster_scoped(kind) && id.ns.empty()) id.ns = "default";
  return id;
}

ServerStatus status_of(element e) {
  ServerStatus s;
  int64_t code = 0;
  if (!e.at_key("code").get(code)) s.code = int(code);
  s.reason = text_at(e, "reason");
  s.message = one_line(text_at(e, "message"));
  return s;
}

std::optional<WatchEvent::Type> type_of(std::string_view t) {
  using T = WatchEvent::Type;
  if (t == "ADDED") return T::added;
  if (t == "MODIFIED") return T::modified;
  if (t == "DELETED") return T::deleted;
  if (t == "BOOKMARK") return T::bookmark;
  if (t == "ERROR") return T::error;
  return std::nullopt;
}

Result<ObjectPtr> read_object(Kind kind, element e, std::string_view place) {
  if (const auto k = text_at(e, "kind"); !k.empty() && k != to_string(kind))
    return fail(Code::invalid, "{}: a {} among the objects of kind {}; left out", place, one_line(k), to_string(kind));
  JsonErrors errors{place, to_string(kind), {}};
  const JsonFields f(e, errors);
  auto o = std::make_shared<Object>();
  o->place.file = "kubernetes";
  parse_into(*o, kind, f, [&] { errors.object += " " + o->id.str(); });
  if (errors.first) return tl::unexpected(*errors.first);
  return ObjectPtr(std::move(o));
}

}  // namespace

struct JsonReader::Impl {
  std::unique_ptr<simdjson::dom::parser> parser;

  Result<element> parse(std::string& text, std::string_view place) {
    if (!parser || parser->capacity() > kKeepBytes) parser = std::make_unique<simdjson::dom::parser>();
    text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    element e;
    if (auto error = parser->parse(text.data(), text.size(), false).get(e)) return fail(Code::invalid, "{}: not JSON: {}", place, simdjson::error_message(error));
    if (!e.is_object()) return fail(Code::invalid, "{}: not a JSON object", place);
    return e;
  }
};

JsonReader::JsonReader() : impl_(std::make_unique<Impl>()) {}
JsonReader::~JsonReader() = default;

ReadObject JsonReader::object(Kind kind, std::string& text, std::string_view place) {
  auto e = impl_->parse(text, place);
  if (!e) return {nullptr, {}, e.error().what};
  ReadObject out;
  element meta;
  if (!e->at_key("metadata").get(meta)) out.id = id_of(kind, meta);
  auto read = read_object(kind, *e, place);
  if (read) out.object = std::move(*read);
  else out.trouble = read.error().what;
  return out;
}

Result<WatchEvent> JsonReader::event(Kind kind, std::string& line, std::string_view place) {
  EM_TRY_ASSIGN(const element e, impl_->parse(line, place));
  const auto type = type_of(text_at(e, "type"));
  if (!type) return fail(Code::invalid, "{}: a watch event of unknown type \"{}\"", place, one_line(text_at(e, "type")));
  element object;
  if (e.at_key("object").get(object) || !object.is_object()) return fail(Code::invalid, "{}: a watch event without an object", place);
  WatchEvent out;
  out.type = *type;
  if (*type == WatchEvent::Type::error) return out.status = status_of(object), out;
  element meta;
  if (object.at_key("metadata").get(meta)) return fail(Code::invalid, "{}: a watch event whose object has no metadata", place);
  out.resource_version = text_at(meta, "resourceVersion");
  if (*type == WatchEvent::Type::bookmark) return out;
  out.id = id_of(kind, meta);
  if (out.id.name.empty()) return fail(Code::invalid, "{}: a watch event whose object has no name", place);
  if (*type == WatchEvent::Type::deleted) return out;
  auto read = read_object(kind, object, place);
  if (read) out.object = std::move(*read);
  else out.trouble = read.error().what;
  return out;
}

Result<ListFrame> JsonReader::list_frame(std::string& text, std::string_view place) {
  EM_TRY_ASSIGN(const element e, impl_->parse(text, place));
  ListFrame f;
  f.kind = text_at(e, "kind");
  element meta;
  if (e.at_key("metadata").get(meta)) return f;
  f.resource_version = text_at(meta, "resourceVersion");
  f.next_page = text_at(meta, "continue");
  return f;
}

ServerStatus JsonReader::status(std::string& text) {
  auto e = impl_->parse(text, "");
  if (e && text_at(*e, "kind") == "Status") return status_of(*e);
  ServerStatus s;
  s.message = one_line(std::string_view(text).substr(0, 200));
  while (s.message.ends_with(' ')) s.message.pop_back();
  return s;
}

}  // namespace base::kube
