/** Authorities and certificates in PEM, made with openssl: good ones, and each kind of bad one. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

export interface Certificate {
	readonly certificate: string;
	readonly key: string;
	/** Both in one file, as Kafka wants its keystore. */
	readonly both: string;
}

export class Authority {
	/** The file with its certificate. */
	readonly certificate: string;
	readonly #folder: string;
	readonly #name: string;

	/** Makes one, its files in `folder`. */
	constructor(folder: string, name: string) {
		this.#folder = folder;
		this.#name = name;
		this.certificate = path.join(folder, `${name}.pem`);
		this.#openssl(
			...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", `/CN=${name}`],
			...["-keyout", path.join(folder, `${name}.key`), "-out", this.certificate],
		);
	}

	/** `subject`: its common name. `names`: those it is for, as `IP:127.0.0.1`. `expired`: since yesterday. */
	sign(subject: string, names: string, { expired = false } = {}): Certificate {
		const file = (end: string): string =>
			path.join(this.#folder, `${this.#name}-${subject}${expired ? "-old" : ""}.${end}`);
		const [certificate, key, both, request, extensions] = [
			file("pem"),
			file("key"),
			file("both.pem"),
			file("csr"),
			file("ext"),
		];
		this.#openssl(
			...["req", "-newkey", "rsa:2048", "-nodes", "-subj", `/CN=${subject}`, "-keyout", key, "-out", request],
		);
		fs.writeFileSync(extensions, `subjectAltName=${names}\n`);
		this.#openssl(
			...[
				"x509",
				"-req",
				"-in",
				request,
				"-CA",
				this.certificate,
				"-CAkey",
				path.join(this.#folder, `${this.#name}.key`),
			],
			...["-CAcreateserial", "-extfile", extensions, "-out", certificate],
			...["-days", expired ? "-1" : "10"],
		);
		fs.writeFileSync(both, fs.readFileSync(key, "utf8") + fs.readFileSync(certificate, "utf8"));
		return { certificate, key, both };
	}

	#openssl(...parameters: string[]): void {
		execFileSync("openssl", parameters, { stdio: ["ignore", "ignore", "pipe"] });
	}
}
