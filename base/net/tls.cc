#include "base/net/tls.h"

#include <openssl/ssl.h>

#include "base/core/assert.h"
#include "base/net/addr.h"
#include "base/net/node_cert.h"
#include "base/net/x509_ptr.h"

namespace base {

struct TlsContext::Impl {
  TlsConfig config;
  std::string alpn_wire;  // each name after its length
  bssl::UniquePtr<SSL_CTX> ctx;
};

struct TlsEngine::Impl {
  std::shared_ptr<const TlsContext> context;
  bssl::UniquePtr<SSL> ssl;
  WallTime verify_at;
  ByteView in;      // what feed() was given and BoringSSL has not yet taken
  Buffer out;
  Error refusal;    // why we refused the peer's certificate
  uint8_t alert = 0;  // the last fatal alert of the peer
  bool failed = false;

  const TlsConfig* settings = nullptr;  // the context's
  const TlsConfig& config() const { return *settings; }
  Result<void> handshake();
  Result<void> read(Buffer& plaintext);
  tl::unexpected<Error> failure(const char* doing);
};

namespace {

// ---- a BIO whose two ends are the engine's in and out

int bio_read(BIO* b, char* to, int n) {
  auto* in = static_cast<ByteView*>(BIO_get_data(b));
  BIO_clear_retry_flags(b);
  size_t k = std::min(in->size(), size_t(n));
  if (k == 0) return BIO_set_retry_read(b), -1;
  std::memcpy(to, in->data(), k);
  *in = in->subspan(k);
  return int(k);
}

int bio_write(BIO* b, const char* from, int n) {
  static_cast<Buffer*>(BIO_get_data(b))->append({reinterpret_cast<const uint8_t*>(from), size_t(n)});
  return n;
}

long bio_ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH; }

const BIO_METHOD* bio_method() {
  static const BIO_METHOD* m = [] {
    BIO_METHOD* x = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "engine");
    BIO_meth_set_read(x, bio_read);
    BIO_meth_set_write(x, bio_write);
    BIO_meth_set_ctrl(x, bio_ctrl);
    return x;
  }();
  return m;
}

BIO* make_bio(void* data) {
  BIO* b = BIO_new(bio_method());
  EM_ASSERT(b);
  BIO_set_data(b, data);
  BIO_set_init(b, 1);
  return b;
}

// ---- loading

bssl::UniquePtr<X509> x509_of(const ByteVec& der) { return x509_from_der(der); }

Result<void> load_own(SSL_CTX* ctx, const TlsConfig& c) {
  EM_TRY_ASSIGN(std::vector<ByteVec> chain, certificates_from_pem(c.certificate_pem, "own certificate"));
  for (size_t i = 0; i < chain.size(); ++i) {
    auto x = x509_of(chain[i]);
    bool ok = x && (i == 0 ? SSL_CTX_use_certificate(ctx, x.get()) : SSL_CTX_add1_chain_cert(ctx, x.get()));
    if (!ok) return fail(Code::invalid, "own certificate {}: {}", i + 1, boringssl_error());
  }
  // An encrypted key would ask for its password on the terminal; an empty one is given instead.
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(c.key_pem.data(), int(c.key_pem.size())));
  auto no_password = [](char*, int, int, void*) { return 0; };
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!key) return fail(Code::invalid, "own private key: not an unencrypted PEM key: {}", boringssl_error());
  if (!SSL_CTX_use_PrivateKey(ctx, key.get()) || !SSL_CTX_check_private_key(ctx)) {
    ERR_clear_error();
    return fail(Code::invalid, "own private key: does not belong to the certificate; issue both anew");
  }
  return {};
}

Result<void> load_cas(SSL_CTX* ctx, const TlsConfig& c) {
  EM_TRY_ASSIGN(std::vector<ByteVec> cas, certificates_from_pem(c.ca_pem, "CA certificate"));
  for (const ByteVec& der : cas) {
    auto x = x509_of(der);
    if (!x || !X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x.get()))
      return fail(Code::invalid, "CA certificate: {}", boringssl_error());
  }
  return {};
}

// ---- verification

int engine_index() {
  static const int i = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return i;
}

TlsEngine::Impl* engine_of(const SSL* ssl);

std::string name_of(X509* x) {
  char text[256] = "";
  if (x) X509_NAME_oneline(X509_get_subject_name(x), text, sizeof text);
  return text;
}

// Of the certificate that failed, with the time it was held against.
std::string dates_of(X509* x, WallTime checked_at) {
  if (!x) return "";
  return fmt::format(" (valid {} to {}, it is {})", to_date(wall_time_of(X509_get0_notBefore(x))), to_date(wall_time_of(X509_get0_notAfter(x))), to_date(checked_at));
}

const char* mend_for(int error) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return "; renew it at the peer";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "; set the clock where it was issued, or here";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: return "; it comes from another CA than ours";
    default: return "";
  }
}

}  // namespace

// ---- context

TlsContext::TlsContext(std::unique_ptr<Impl> i) : impl_(std::move(i)) {}
TlsContext::~TlsContext() = default;

namespace {

int select_alpn(SSL*, const uint8_t** out, uint8_t* out_len, const uint8_t* offered, unsigned offered_len, void* arg) {
  auto* ours = static_cast<const std::string*>(arg);
  if (ours->empty()) return SSL_TLSEXT_ERR_NOACK;
  int r = SSL_select_next_proto(const_cast<uint8_t**>(out), out_len, reinterpret_cast<const uint8_t*>(ours->data()), unsigned(ours->size()),
                                offered, offered_len);
  return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void set_policy(SSL_CTX* ctx) {
  SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_early_data_enabled(ctx, 0);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
}

// Within the configured tolerance a certificate's dates are good enough.
int tolerate_dates(int ok, X509_STORE_CTX* store) {
  if (ok) return ok;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsEngine::Impl* e = engine_of(ssl);
  X509* x = X509_STORE_CTX_get_current_cert(store);
  if (!x) return 0;
  auto now = time_t(e->verify_at.unix_seconds);
  time_t eased = now;
  int error = X509_STORE_CTX_get_error(store);
  if (error == X509_V_ERR_CERT_NOT_YET_VALID) {
    if (e->config().dates.starts_by) eased = std::max(eased, time_t(e->config().dates.starts_by().unix_seconds));
    eased += e->config().not_before_slack.count();
    return X509_cmp_time(X509_get0_notBefore(x), &eased) < 0;
  }
  if (error != X509_V_ERR_CERT_HAS_EXPIRED) return 0;
  eased -= e->config().dates.expiry_grace.count();
  return X509_cmp_time(X509_get0_notAfter(x), &eased) > 0;
}

int verify_peer(X509_STORE_CTX* store, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsEngine::Impl* e = engine_of(ssl);
  if (e->config().accept_any_server && !SSL_is_server(ssl)) return X509_STORE_CTX_set_error(store, X509_V_OK), 1;
  X509_STORE_CTX_set_verify_cb(store, tolerate_dates);
  if (X509_verify_cert(store) != 1) {
    int error = X509_STORE_CTX_get_error(store);
    X509* x = X509_STORE_CTX_get_current_cert(store);
    const bool by_date = error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
    e->refusal = {Code::denied, fmt::format("the peer's certificate ({}) is refused: {}{}{}", name_of(x), X509_verify_cert_error_string(error),
                                            by_date ? dates_of(x, e->verify_at) : "", mend_for(error))};
    return 0;
  }
  X509_STORE_CTX_set_error(store, X509_V_OK);
  if (!e->config().verify) return 1;
  bssl::UniquePtr<STACK_OF(X509)> chain(X509_STORE_CTX_get1_chain(store));
  auto admitted = e->config().verify(der_of(sk_X509_value(chain.get(), 0)));
  if (admitted) return 1;
  e->refusal = admitted.error();
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

void note_alert(const SSL* ssl, int type, int value) {
  if (type == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL) engine_of(ssl)->alert = uint8_t(value);
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::make(TlsConfig config) {
  auto impl = std::make_unique<Impl>();
  impl->config = std::move(config);
  const TlsConfig& c = impl->config;
  ERR_clear_error();
  impl->ctx.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* ctx = impl->ctx.get();
  EM_ASSERT(ctx);
  set_policy(ctx);
  if (!c.certificate_pem.empty()) EM_TRY(load_own(ctx, c));
  if (!c.accept_any_server || !c.ca_pem.empty()) EM_TRY(load_cas(ctx, c));
  for (const std::string& name : c.alpn) {
    EM_ASSERT(!name.empty() && name.size() < 256);
    impl->alpn_wire += char(name.size()) + name;
  }
  SSL_CTX_set_alpn_select_cb(ctx, select_alpn, &impl->alpn_wire);
  SSL_CTX_set_cert_verify_callback(ctx, verify_peer, nullptr);
  SSL_CTX_set_info_callback(ctx, note_alert);
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

// ---- engine

namespace {
TlsEngine::Impl* engine_of(const SSL* ssl) { return static_cast<TlsEngine::Impl*>(SSL_get_ex_data(ssl, engine_index())); }
}  // namespace

TlsEngine::TlsEngine(std::shared_ptr<const TlsContext> context, TlsRole role, WallTime verify_at, const std::string& expected_name)
    : impl_(std::make_unique<Impl>()) {
  const TlsContext::Impl& shared = *context->impl_;
  SSL* ssl = SSL_new(shared.ctx.get());
  EM_ASSERT(ssl);
  impl_->ssl.reset(ssl);
  impl_->settings = &shared.config;
  impl_->context = std::move(context);
  impl_->verify_at = verify_at;
  SSL_set_ex_data(ssl, engine_index(), impl_.get());
  SSL_set_bio(ssl, make_bio(&impl_->in), make_bio(&impl_->out));
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_time(param, time_t(verify_at.unix_seconds));
  bool ask = role == TlsRole::client || shared.config.require_client_certificate;
  SSL_set_verify(ssl, ask ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
  if (role == TlsRole::server) {
    SSL_set_accept_state(ssl);
    return;
  }
  SSL_set_connect_state(ssl);
  if (!shared.alpn_wire.empty())
    SSL_set_alpn_protos(ssl, reinterpret_cast<const uint8_t*>(shared.alpn_wire.data()), unsigned(shared.alpn_wire.size()));
  if (expected_name.empty()) return;
  if (auto ip = IpAddr::parse(expected_name)) {
    X509_VERIFY_PARAM_set1_ip(param, ip->bytes().data(), ip->bytes().size());
  } else {
    X509_VERIFY_PARAM_set1_host(param, expected_name.data(), expected_name.size());
    SSL_set_tlsext_host_name(ssl, expected_name.c_str());
  }
}

TlsEngine::~TlsEngine() = default;

tl::unexpected<Error> TlsEngine::Impl::failure(const char* doing) {
  failed = true;
  std::string reason = boringssl_error();
  if (!refusal.what.empty()) return tl::unexpected(refusal);
  if (alert) return fail(Code::denied, "TLS {}: the peer refused us: {}", doing, SSL_alert_desc_string_long(alert));
  return fail(Code::denied, "TLS {}: {}", doing, reason);
}

Result<void> TlsEngine::Impl::handshake() {
  if (failed) return fail(Code::unavailable, "TLS: the connection has failed before");
  ERR_clear_error();
  int r = SSL_do_handshake(ssl.get());
  if (r == 1 || SSL_get_error(ssl.get(), r) == SSL_ERROR_WANT_READ) return {};
  return failure("handshake");
}

Result<void> TlsEngine::Impl::read(Buffer& plaintext) {
  for (;;) {
    ERR_clear_error();
    int n = plaintext.append_with(16 << 10, [&](uint8_t* p, size_t room) { return SSL_read(ssl.get(), p, int(room)); });
    if (n > 0) continue;
    int error = SSL_get_error(ssl.get(), n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN) return {};
    return failure("record");
  }
}

Result<void> TlsEngine::start() { return impl_->handshake(); }

Result<void> TlsEngine::feed(ByteView ciphertext, Buffer& plaintext) {
  impl_->in = ciphertext;
  if (!handshake_done()) EM_TRY(impl_->handshake());
  if (!handshake_done()) return {};
  if (impl_->failed) return fail(Code::unavailable, "TLS: the connection has failed before");
  return impl_->read(plaintext);
}

Result<void> TlsEngine::write(ByteView plaintext) {
  if (!handshake_done() || impl_->failed) return fail(Code::unavailable, "TLS: write outside of an established connection");
  ERR_clear_error();
  while (!plaintext.empty()) {
    size_t n = std::min(plaintext.size(), size_t(1) << 20);
    if (SSL_write(impl_->ssl.get(), plaintext.data(), int(n)) != int(n)) return impl_->failure("write");
    plaintext = plaintext.subspan(n);
  }
  return {};
}

void TlsEngine::close() {
  if (handshake_done() && !impl_->failed) SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

Buffer& TlsEngine::output() { return impl_->out; }
bool TlsEngine::handshake_done() const { return SSL_is_init_finished(impl_->ssl.get()); }
bool TlsEngine::peer_closed() const { return SSL_get_shutdown(impl_->ssl.get()) & SSL_RECEIVED_SHUTDOWN; }

ByteVec TlsEngine::peer_leaf() const {
  bssl::UniquePtr<X509> x(SSL_get_peer_certificate(impl_->ssl.get()));
  return x ? der_of(x.get()) : ByteVec{};
}

std::vector<ByteVec> TlsEngine::peer_chain() const {
  std::vector<ByteVec> out;
  STACK_OF(X509)* chain = SSL_get_peer_full_cert_chain(impl_->ssl.get());
  for (size_t i = 0; chain && i < sk_X509_num(chain); ++i) out.push_back(der_of(sk_X509_value(chain, i)));
  return out;
}

std::string TlsEngine::alpn() const {
  const uint8_t* p = nullptr;
  unsigned n = 0;
  SSL_get0_alpn_selected(impl_->ssl.get(), &p, &n);
  return std::string(reinterpret_cast<const char*>(p), n);
}

Result<ByteVec> TlsEngine::export_keying_material(std::string_view label, ByteView context, size_t length) const {
  if (!handshake_done() || impl_->failed) return fail(Code::unavailable, "TLS: no keys to export before the handshake is done");
  ByteVec out(length);
  int ok = SSL_export_keying_material(impl_->ssl.get(), out.data(), out.size(), label.data(), label.size(), context.data(), context.size(), 1);
  if (ok != 1) return fail(Code::io, "TLS exporter: {}", boringssl_error());
  return out;
}

}  // namespace base
