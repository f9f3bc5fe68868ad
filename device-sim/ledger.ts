/**
 * What a run's devices know of their own events: sent, acknowledged, resent, refused. It is written
 * while the run goes on, by the devices alone, and read once by the verifier. Per device it holds
 * ranges, not events.
 */
import { SequenceSet } from "./sequence-set.ts";

export class DeviceLedger {
	readonly name: string;
	/** For the table: devices of one group are added up in one row. */
	readonly group: string;
	/** Events that the gateway has said are stored: each of them must be found. */
	readonly acked = new SequenceSet();
	/** Events that the gateway has said it will not store. */
	readonly refused = new SequenceSet();
	/** How often an event was sent again, by sequence number; most never are and have no entry. */
	readonly #resends = new Map<number, number>();
	#sent = 0;
	#resent = 0;

	constructor(name: string, group: string) {
		this.name = name;
		this.group = group;
	}

	/** How many events were sent at least once: sequence numbers 0 to sent - 1. */
	get sent(): number {
		return this.#sent;
	}

	/** How often any event was sent again. */
	get resent(): number {
		return this.#resent;
	}

	/** Notes that the event `seq` is about to be sent; the first time or again. Events begin at 0 and leave none out. */
	noteSent(seq: number): void {
		if (seq === this.#sent) {
			this.#sent++;
			return;
		}
		if (seq > this.#sent) throw new RangeError(`${this.name}: event ${seq} sent before event ${this.#sent}`);
		this.#resends.set(seq, (this.#resends.get(seq) ?? 0) + 1);
		this.#resent++;
	}

	/** How often event `seq` was sent after the first time. */
	resendsOf(seq: number): number {
		return this.#resends.get(seq) ?? 0;
	}
}

export class Ledger {
	/** In every event of the run; records without it are not the run's. */
	readonly run: string;
	/** Whether a resend may be stored twice (QoS 1) or not (QoS 2; QoS 0, which has none). */
	readonly resendsMayRepeat: boolean;
	/**
	 * Whether another broker and a link at QoS 1 are between the devices and the log: the link may repeat any event, and
	 * the broker may send what it had queued behind what came later.
	 */
	readonly relayed: boolean;
	readonly #devices = new Map<string, DeviceLedger>();

	constructor(run: string, qos: 0 | 1 | 2, relayed = false) {
		this.run = run;
		this.relayed = relayed;
		this.resendsMayRepeat = qos === 1;
	}

	/** The device's part, made when it is first asked for. */
	device(name: string, group = "device"): DeviceLedger {
		let device = this.#devices.get(name);
		if (!device) {
			device = new DeviceLedger(name, group);
			this.#devices.set(name, device);
		}
		return device;
	}

	find(name: string): DeviceLedger | undefined {
		return this.#devices.get(name);
	}

	devices(): Iterable<DeviceLedger> {
		return this.#devices.values();
	}
}
