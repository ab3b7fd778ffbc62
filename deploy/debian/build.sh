#!/bin/sh
# build.sh BUILD OUT: a Debian package of what BUILD (a configured and built CMake folder) installs. Dependencies are those the
# programs link (dpkg-shlibdeps). Nothing is started or restarted by installing or upgrading it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
out=$2
name=edgemeshd
version=$(sed -n 's/^project(edgemeshd VERSION \([0-9.]*\).*/\1/p' "$here/../../CMakeLists.txt")
arch=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
umask 022

DESTDIR=$stage cmake --install "$build" --prefix /usr --strip >/dev/null
# Debian 12 keeps units under /lib
mkdir -p "$stage/lib/systemd"
mv "$stage/usr/lib/systemd/system" "$stage/lib/systemd/system"
rmdir "$stage/usr/lib/systemd"
gzip -9n "$stage"/usr/share/man/man8/*.8
mkdir -p "$stage/usr/share/doc/$name" "$stage/DEBIAN" "$stage/usr/share/lintian/overrides"
install -m 644 "$here/copyright" "$stage/usr/share/doc/$name/copyright"
sed "s/@VERSION@/$version/" "$here/changelog" | gzip -9n > "$stage/usr/share/doc/$name/changelog.gz"
install -m 644 "$here/lintian-overrides" "$stage/usr/share/lintian/overrides/$name"
for f in postinst prerm postrm; do install -m 755 "$here/$f" "$stage/DEBIAN/$f"; done
echo /etc/edgemeshd/config.yaml > "$stage/DEBIAN/conffiles"

# dpkg-shlibdeps wants a source package's control file beside it
mkdir "$work/debian"
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$name" "$name" > "$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O -estage/usr/bin/edgemeshd -estage/usr/bin/edgemeshctl | sed -n 's/^shlibs:Depends=//p')

{
  printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: the edgemeshd authors <edgemeshd@example.org>\n' "$name" "$version" "$arch"
  printf 'Installed-Size: %s\n' "$(du -k -s --exclude=DEBIAN "$stage" | cut -f1)"
  printf 'Depends: %s\nRecommends: ca-certificates\nSection: net\nPriority: optional\n' "$depends"
  cat "$here/description"
} > "$stage/DEBIAN/control"
(cd "$stage" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) > "$stage/DEBIAN/md5sums"
chmod 644 "$stage/DEBIAN/md5sums" "$stage/DEBIAN/control" "$stage/DEBIAN/conffiles"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$stage" "$out/${name}_${version}_${arch}.deb" >/dev/null
echo "$out/${name}_${version}_${arch}.deb"
