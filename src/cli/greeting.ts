/** What `headwater start` says when the gateway is ready: what listens where, and a line to try. */

export interface Greeting {
	readonly version: string;
	/** From the start of the process until everything listens. */
	readonly readyMs: number;
	readonly dataDirectory: string;
	readonly listeners: readonly { readonly door: string; readonly address: string }[];
	/** The topic that a publish to `sensors/site1/dev7/telemetry` reaches; undefined when no route takes it. */
	readonly exampleTopic: string | undefined;
	readonly colours: boolean;
}

const USUAL_MQTT = "127.0.0.1:1883";
const USUAL_NATIVE = "127.0.0.1:9470";

export function greeting(facts: Greeting): string {
	const bold = (text: string) => (facts.colours ? `\x1b[1m${text}\x1b[0m` : text);
	const rows: [string, string][] = [
		...facts.listeners.map(({ door, address }): [string, string] => [door, address]),
		["data", facts.dataDirectory],
	];
	const widest = Math.max(...rows.map(([name]) => name.length));
	let text = `${bold(`Headwater ${facts.version}`)} is ready after ${Math.round(facts.readyMs)} ms\n`;
	for (const [name, value] of rows) text += `  ${name.padEnd(widest)}  ${value}\n`;
	const mqtt = reachable(facts, "mqtt");
	const native = reachable(facts, "native");
	if (facts.exampleTopic !== undefined && mqtt !== undefined && native !== undefined) {
		const [host, port] = splitAddress(mqtt);
		const where = mqtt === USUAL_MQTT ? "" : ` -h ${host} -p ${port}`;
		const connect = native === USUAL_NATIVE ? "" : ` --connect ${native}`;
		text += `\nTry, in another terminal:\n`;
		text += `  mosquitto_pub${where} -q 1 -t sensors/site1/dev7/telemetry -m '{"t":21.5}'\n`;
		text += `  npx headwater consume ${facts.exampleTopic} --from earliest${connect}\n`;
	}
	return `${text}\nCtrl-C ends it.\n`;
}

/** A door's address as a program on this machine reaches it: any-host addresses by the loopback. */
function reachable(facts: Greeting, door: string): string | undefined {
	const address = facts.listeners.find((listener) => listener.door === door)?.address;
	return address?.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
}

function splitAddress(address: string): [host: string, port: string] {
	const colon = address.lastIndexOf(":");
	return [address.slice(0, colon).replace(/^\[|\]$/g, ""), address.slice(colon + 1)];
}
