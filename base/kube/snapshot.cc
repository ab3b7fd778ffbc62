#include "base/kube/snapshot.h"

#include "base/core/limits.h"
#include "base/kube/object_codec.h"

namespace base::kube {
namespace {

constexpr std::string_view kMagic = "emobject";
constexpr size_t kHeaderBytes = 40, kChecksumAt = 32;
constexpr uint64_t kFnvStart = 0xcbf29ce484222325;

uint64_t fnv(std::string_view bytes, uint64_t from) {
  for (char c : bytes) from = (from ^ uint8_t(c)) * 0x100000001b3;
  return from;
}

// A snapshot's object is a packed one whose place is written shorter.
void write_object(codec::Out& a, const PackedObject& o) {
  const auto parts = o.parts();
  const Place place = o.place();
  a.number(uint64_t(o.kind()));
  a.bytes(as_bytes(parts.head));
  a.file(place.file);
  a.integer(place.line);
  a.bytes(as_bytes(parts.body));
}

PackedObject read_object(codec::In& a) {
  Object o;  // read for what is wrong with it; kept as it stands
  codec::make_body(o.body, a.number_upto(kKinds - 1));
  const size_t head_at = a.position();
  io(a, o.id);
  io(a, o.labels);
  const std::string_view head = a.since(head_at);
  a.file(o.place.file);
  a.integer(o.place.line);
  const size_t body_at = a.position();
  std::visit([&](auto& body) { io(a, body); }, o.body);
  return PackedObject::from_parts(o.kind(), o.place, head, a.since(body_at));
}

void put64(std::string& to, size_t at, uint64_t v) {
  store_be64(reinterpret_cast<uint8_t*>(to.data() + at), v);
}

uint64_t checksum(std::string_view whole) { return fnv(whole.substr(kHeaderBytes), fnv(whole.substr(0, kChecksumAt), kFnvStart)); }

Result<std::string_view> body_of(std::string_view bytes, Snapshot& out) {
  if (bytes.size() < kHeaderBytes) return fail(Code::invalid, "cut short ({} bytes)", bytes.size());
  Reader h(as_bytes(bytes.substr(kMagic.size(), kHeaderBytes - kMagic.size())));
  if (!bytes.starts_with(kMagic)) return fail(Code::invalid, "not a snapshot of objects");
  if (const uint32_t version = h.u32(); version != kSnapshotVersion)
    return fail(Code::unsupported, "version {}, this program reads version {}", version, kSnapshotVersion);
  h.u32();
  out.written_s = h.u64();
  const uint64_t length = h.u64(), sum = h.u64();
  if (length != bytes.size() - kHeaderBytes) return fail(Code::invalid, "{} bytes long where {} were written", bytes.size(), length + kHeaderBytes);
  out.content = fnv(bytes.substr(kHeaderBytes), kFnvStart);
  if (sum != checksum(bytes)) return fail(Code::invalid, "damaged (its checksum does not match)");
  return bytes.substr(kHeaderBytes);
}

}  // namespace

SnapshotBytes encode_snapshot(const Snapshot& s) {
  SnapshotBytes out;
  size_t size = kHeaderBytes + 16;
  for (const PackedObject& o : s.objects) size += o.size() + 8;
  for (const ObjectName& n : s.in_use) size += n.ns.size() + n.name.size() + 8;
  out.bytes.reserve(size);  // once: megabytes that grow are held twice
  out.bytes.assign(kHeaderBytes, '\0');
  codec::Out a(out.bytes);
  a.list(s.objects, [&](const PackedObject& o) { write_object(a, o); });
  io_list(a, s.in_use);
  out.content = fnv(std::string_view(out.bytes).substr(kHeaderBytes), kFnvStart);
  out.bytes.replace(0, kMagic.size(), kMagic);
  store_be32(reinterpret_cast<uint8_t*>(out.bytes.data() + kMagic.size()), kSnapshotVersion);
  put64(out.bytes, 16, s.written_s);
  put64(out.bytes, 24, out.bytes.size() - kHeaderBytes);
  put64(out.bytes, kChecksumAt, checksum(out.bytes));
  return out;
}

Result<Snapshot> decode_snapshot(std::string_view bytes) {
  Snapshot out;
  EM_TRY_ASSIGN(const std::string_view body, body_of(bytes, out));
  codec::In a(body);
  a.list(out.objects, [&](PackedObject& p) { p = read_object(a); });
  io_list(a, out.in_use);
  if (!a.at_end()) return fail(Code::invalid, "its content does not follow the format");
  return out;
}

}  // namespace base::kube
