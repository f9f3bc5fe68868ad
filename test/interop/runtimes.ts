/**
 * Vitest's global setup of the interop tests: which of other people's programs this machine has, and
 * fetching what they need (Kafka's jars, a Python environment) into ${XDG_CACHE_HOME:-~/.cache}/interop,
 * once. What is absent is told in one line each and its tests are left out; with CI=true it is an error.
 */
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";

export interface Runtimes {
	/** mosquitto_pub and mosquitto_sub are there. */
	readonly mosquitto: boolean;
	/** Kafka's command-line programs run: kit/kafka/kafka-cli. */
	readonly kafka: boolean;
	/** A Python that can import paho.mqtt. */
	readonly python: string | undefined;
}

declare module "vitest" {
	export interface ProvidedContext {
		runtimes: Runtimes;
	}
}

const PAHO_VERSION = "2.1.0";
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

function fetchKafka(): boolean {
	const leftOut = "Kafka's own programs are";
	if (!has("java")) absent("no java (17 or later)", leftOut);
	else if (spawnSync(path.join(kit, "kafka", "kafka-fetch"), { stdio: ["ignore", "ignore", "inherit"] }).status !== 0) {
		absent("Kafka's jars could not be fetched", leftOut);
	} else return true;
	return false;
}

function fetchPaho(): string | undefined {
	const leftOut = "the Python client is";
	const folder = path.join(cache, `python-paho-${PAHO_VERSION}`);
	const python = path.join(folder, "bin", "python");
	const works = (): boolean => spawnSync(python, ["-c", "import paho.mqtt"]).status === 0;
	if (!has("python3")) {
		absent("no python3", leftOut);
		return undefined;
	}
	if (works()) return python;
	try {
		fs.mkdirSync(cache, { recursive: true });
		execFileSync("python3", ["-m", "venv", "--clear", folder], { stdio: "ignore" });
		execFileSync(python, ["-m", "pip", "install", "--quiet", `paho-mqtt==${PAHO_VERSION}`], { stdio: "ignore" });
	} catch (error) {
		absent(`paho-mqtt could not be installed (${String(error).split("\n")[0]})`, leftOut);
	}
	return works() ? python : undefined;
}

export function setup(project: TestProject): void {
	project.provide("runtimes", { mosquitto: findMosquitto(), kafka: fetchKafka(), python: fetchPaho() });
}
