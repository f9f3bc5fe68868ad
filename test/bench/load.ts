/**
 * The load generator: one process of its own, so that what it costs is not the broker's. Publishes
 * ready-made packets over plain sockets and counts acknowledgements; light enough that the broker is
 * the limit. Run by the benchmarks; prints one line of JSON.
 *
 *   node test/bench/load.ts '{"port":1883,"connections":10,"window":100,"bytes":100,"qos":1,"seconds":5}'
 */
import net from "node:net";

export interface LoadSpec {
	readonly port: number;
	readonly connections: number;
	/** Publishes that a connection has unacknowledged, at most. QoS 0: publishes in one write. */
	readonly window: number;
	/** Of payload. */
	readonly bytes: number;
	readonly qos: 0 | 1 | 2;
	readonly seconds: number;
	/** Not counted, first. */
	readonly warmupSeconds?: number;
}

export interface LoadResult {
	/** Acknowledged (QoS 0: written) in the time that counts. */
	readonly events: number;
	readonly seconds: number;
	/** From PUBLISH written to acknowledgement read, of a sample; milliseconds. */
	readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
	/** Processor time of this process per event, microseconds. */
	readonly ownCpuUs: number;
}

function mqttString(text: string): Buffer {
	const bytes = Buffer.from(text);
	return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

function packet(first: number, body: Buffer): Buffer {
	const length: number[] = [];
	for (let rest = body.length; ; ) {
		const byte = rest & 0x7f;
		rest >>= 7;
		length.push(rest > 0 ? byte | 0x80 : byte);
		if (rest === 0) break;
	}
	return Buffer.concat([Buffer.of(first, ...length), body]);
}

function connectPacket(clientId: string): Buffer {
	const head = Buffer.concat([mqttString("MQTT"), Buffer.of(4, 2, 0, 0)]);
	return packet(0x10, Buffer.concat([head, mqttString(clientId)]));
}

function publishPacket(topic: string, qos: number, packetId: number, payload: Buffer): Buffer {
	const id = qos === 0 ? Buffer.alloc(0) : Buffer.of(packetId >> 8, packetId & 0xff);
	return packet(0x30 | (qos << 1), Buffer.concat([mqttString(topic), id, payload]));
}

const ACK_BYTES = 4;

/** Keeps its window full with slices of one buffer that holds a whole window of packets. */
class Publisher {
	readonly #socket: net.Socket;
	readonly #spec: LoadSpec;
	readonly #packets: Buffer;
	readonly #packetBytes: number;
	#next = 0;
	#oddBytes = 0;
	#sentAt: number[] = [];
	acks = 0;
	readonly latencies: number[] = [];

	constructor(socket: net.Socket, spec: LoadSpec, number: number) {
		this.#socket = socket;
		this.#spec = spec;
		const topic = `sensors/site${number % 7}/dev${number}/telemetry`;
		const payload = Buffer.alloc(spec.bytes, `{"device":${number},"t":21.5}`);
		const packets = Array.from({ length: spec.window }, (_, i) => publishPacket(topic, spec.qos, i + 1, payload));
		this.#packets = Buffer.concat(packets);
		this.#packetBytes = (packets[0] as Buffer).length;
	}

	begin(): void {
		if (this.#spec.qos === 0) {
			this.#flood();
			return;
		}
		this.#socket.on("data", this.#spec.qos === 1 ? (chunk) => this.#acknowledged(chunk) : (chunk) => this.#exactlyOnce(chunk));
		this.#send(this.#spec.window);
	}

	#flood(): void {
		for (;;) {
			this.acks += this.#spec.window;
			if (!this.#socket.write(this.#packets)) break;
		}
		this.#socket.once("drain", () => this.#flood());
	}

	#send(count: number): void {
		const { window } = this.#spec;
		if (this.#next === 0) this.#sentAt.push(performance.now());
		const first = Math.min(count, window - this.#next);
		this.#socket.write(this.#packets.subarray(this.#next * this.#packetBytes, (this.#next + first) * this.#packetBytes));
		this.#next += first;
		if (this.#next < window) return;
		this.#next = 0;
		if (count > first) this.#send(count - first);
	}

	#acknowledged(chunk: Buffer): void {
		const bytes = this.#oddBytes + chunk.length;
		const count = Math.floor(bytes / ACK_BYTES);
		this.#oddBytes = bytes % ACK_BYTES;
		this.#count(count);
	}

	#count(count: number): void {
		const before = this.acks;
		this.acks += count;
		// The first packet of each window is timed.
		if (Math.floor((before + this.#spec.window - 1) / this.#spec.window) < Math.floor((this.acks + this.#spec.window - 1) / this.#spec.window)) {
			const sent = this.#sentAt.shift();
			if (sent !== undefined && this.latencies.length < 1_000_000) this.latencies.push(performance.now() - sent);
		}
		if (count > 0) this.#send(count);
	}

	/** PUBREC is answered with PUBREL, PUBCOMP counts. */
	#rest: Buffer = Buffer.alloc(0);
	#exactlyOnce(chunk: Buffer): void {
		const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
		const whole = bytes.length - (bytes.length % ACK_BYTES);
		this.#rest = bytes.subarray(whole);
		const releases = Buffer.allocUnsafe(whole);
		let released = 0;
		let completed = 0;
		for (let at = 0; at < whole; at += ACK_BYTES) {
			if (bytes[at] === 0x50) {
				releases[released++] = 0x62;
				releases[released++] = 2;
				releases[released++] = bytes[at + 2] as number;
				releases[released++] = bytes[at + 3] as number;
			} else if (bytes[at] === 0x70) completed += 1;
		}
		if (released > 0) this.#socket.write(releases.subarray(0, released));
		this.#count(completed);
	}

	reset(): void {
		this.acks = 0;
		this.latencies.length = 0;
	}
}

export async function runLoad(spec: LoadSpec): Promise<LoadResult> {
	const publishers: Publisher[] = [];
	for (let first = 0; first < spec.connections; first += 100) {
		const count = Math.min(100, spec.connections - first);
		publishers.push(...(await Promise.all(Array.from({ length: count }, (_, i) => open(spec, first + i)))));
	}
	for (const publisher of publishers) publisher.begin();
	await sleep((spec.warmupSeconds ?? 1) * 1000);
	// A window under way is counted where its acknowledgement falls.
	const before = publishers.map((publisher) => publisher.acks);
	for (const publisher of publishers) publisher.latencies.length = 0;
	const cpu = process.cpuUsage();
	const started = performance.now();
	await sleep(spec.seconds * 1000);
	const seconds = (performance.now() - started) / 1000;
	const used = process.cpuUsage(cpu);
	let events = 0;
	for (const [i, publisher] of publishers.entries()) events += publisher.acks - (before[i] as number);
	const latencies = publishers.flatMap((publisher) => publisher.latencies).sort((a, b) => a - b);
	const at = (part: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? 0;
	return {
		events,
		seconds,
		latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
		ownCpuUs: (used.user + used.system) / Math.max(events, 1),
	};
}

function open(spec: LoadSpec, number: number): Promise<Publisher> {
	return new Promise((resolve, reject) => {
		const socket = net.connect({ port: spec.port, host: "127.0.0.1", noDelay: true });
		socket.once("error", reject);
		socket.write(connectPacket(`load-${number}`));
		socket.once("data", (chunk) => {
			if (chunk[0] !== 0x20 || chunk[3] !== 0) reject(new Error(`CONNACK ${chunk.toString("hex")}`));
			else resolve(new Publisher(socket, spec, number));
		});
	});
}

function sleep(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) {
	const result = await runLoad(JSON.parse(process.argv[2] as string) as LoadSpec);
	process.stdout.write(`${JSON.stringify(result)}\n`);
	process.exit(0);
}
