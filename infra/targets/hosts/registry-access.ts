/**
 * Certificate and password of the registry on the first machine. The private key is made there and never leaves it;
 * the password's bcrypt hash is made there too.
 */
import type * as command from "@pulumi/command";
import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Machine } from "../../parts/machine.ts";
import { quote } from "../../parts/quote.ts";
import { REGISTRY_UID } from "../../parts/registry/registry.ts";

export interface RegistryAccessArgs {
  readonly machine: Machine;
  readonly commands: command.Provider;
  readonly folder: string;
  /** Name or address the certificate is for. */
  readonly host: string;
  readonly address: string;
  readonly username: string;
  readonly password: pulumi.Output<string>;
  readonly after: pulumi.Resource;
}

export class RegistryAccess extends pulumi.ComponentResource {
  /** PEM; for the other machines' engines. */
  readonly certificate: pulumi.Output<string>;
  readonly folder: pulumi.Output<string>;

  constructor(name: string, args: RegistryAccessArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:hosts:RegistryAccess", name, {}, opts);
    const certificate = this.#certificate(name, args);
    const password = this.#password(name, args, certificate);
    this.certificate = certificate.stdout;
    this.folder = password.id.apply(() => args.folder);
    this.registerOutputs({ certificate: this.certificate, folder: this.folder });
  }

  #certificate(name: string, args: RegistryAccessArgs): local.Command {
    const isAddress = /^[0-9.]+$|:/.test(args.host);
    const subject = `${isAddress ? "IP" : "DNS"}:${args.host}`;
    const trust = `/etc/docker/certs.d/${args.address}`;
    const run = args.machine.run(`set -eu
umask 077
mkdir -p ${quote(args.folder)} ${quote(trust)}
chmod 755 ${quote(args.folder)} ${quote(trust)}
cd ${quote(args.folder)}
if ! openssl x509 -in tls.crt -noout -checkend 2592000 >/dev/null 2>&1 || ! openssl x509 -in tls.crt -noout -ext subjectAltName | grep -qF ${quote(args.host)}; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 \\
    -keyout tls.key.new -out tls.crt.new -subj ${quote(`/CN=${args.host}`)} -addext ${quote(`subjectAltName=${subject}`)} 2>/dev/null
  mv tls.key.new tls.key
  mv tls.crt.new tls.crt
fi
chown ${REGISTRY_UID}:0 tls.key tls.crt
chmod 440 tls.key
chmod 444 tls.crt
install -m 644 tls.crt ${quote(`${trust}/ca.crt`)}
cat tls.crt`);
    return new local.Command(
      `${name}-certificate`,
      {
        create: run,
        update: run,
        delete: args.machine.run(`rm -rf ${quote(args.folder)} ${quote(trust)}`),
        logging: local.Logging.Stderr,
      },
      { parent: this, provider: args.commands, dependsOn: [args.after] },
    );
  }

  /** On standard input, so that it is in no process list. */
  #password(name: string, args: RegistryAccessArgs, certificate: pulumi.Resource): local.Command {
    const run = args.machine.pipe(`set -eu
umask 077
cd ${quote(args.folder)}
perl -e 'open(my $r, "<", "/dev/urandom") or die; read($r, my $b, 22); my @c = (".", "/", "A".."Z", "a".."z", "0".."9"); my $s = join("", map { $c[ord($_) % 64] } split(//, $b)); my $p = <STDIN>; chomp $p; my $h = crypt($p, "\\$2b\\$10\\$$s"); die "no bcrypt in this libc\\n" unless defined $h && $h =~ /^\\$2b/; print "$ARGV[0]:$h\\n"' ${quote(args.username)} > htpasswd.new
chown ${REGISTRY_UID}:0 htpasswd.new
chmod 440 htpasswd.new
mv htpasswd.new htpasswd`);
    return new local.Command(
      `${name}-password`,
      {
        create: run,
        update: run,
        stdin: pulumi.secret(args.password),
        logging: local.Logging.None,
      },
      { parent: this, provider: args.commands, dependsOn: [certificate] },
    );
  }
}
