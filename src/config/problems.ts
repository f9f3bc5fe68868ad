/**
 * What is wrong with a configuration, every problem at once: the key, the value's fault, where it
 * came from and what would be right.
 */
import { StartError } from "../base/errors.ts";

export interface ConfigProblem {
	/** As it was written, also when there is no such key; undefined for a file that is no YAML. */
	readonly key: string | undefined;
	readonly wrong: string;
	/** `headwater.yaml:12`, `environment HEADWATER_MQTT_LISTEN`, `--set mqtt.listen=...`, `default`. */
	readonly source: string;
	readonly right: string | undefined;
}

export class ConfigError extends StartError {
	readonly problems: readonly ConfigProblem[];

	constructor(problems: readonly ConfigProblem[]) {
		super(problems.map(formatProblem).join("\n"));
		this.problems = problems;
	}
}

/** `headwater.yaml:12: mqtt.listen: "1883" has no host; did you mean "127.0.0.1:1883"?` */
export function formatProblem(problem: ConfigProblem): string {
	const key = problem.key === undefined ? "" : `${problem.key}: `;
	const right =
		problem.right === undefined
			? ""
			: `; ${/^did you mean/.test(problem.right) ? "" : "right would be "}${problem.right}`;
	return `${problem.source}: ${key}${problem.wrong}${right}`;
}
