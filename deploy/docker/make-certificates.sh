#!/bin/sh
#
# make-certificates.sh DIRECTORY NAME: ca.pem, and NAME.pem with NAME.key for a server of that
# name. What is there is left alone. For the compose file; in production your own CA does this.

set -eu
cd "$1"
name=$2
[ -f "$name.pem" ] && exit 0
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=sidecar compose CA" -keyout ca.key -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
    -keyout "$name.key" -out "$name.csr"
printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$name" >"$name.ext"
openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -set_serial 1 -days 825 \
    -extfile "$name.ext" -out "$name.new"
# Nobody needs the CA's key again. The server's is read by the user that its image runs it as.
rm -f ca.key "$name.csr" "$name.ext"
chmod 644 ca.pem "$name.new" "$name.key"
chmod 755 .
mv "$name.new" "$name.pem"
