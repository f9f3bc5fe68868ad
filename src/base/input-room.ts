/**
 * Room for large requests that are still arriving. Once the first bytes of a request are taken, the rest of it is read
 * whatever the memory budget says, because only a whole request can be finished and let go; so what all requests
 * together may claim is granted before they are read on, one after the other.
 */

interface Claim {
	readonly bytes: number;
	readonly granted: () => void;
	given: boolean;
}

export class InputRoom {
	readonly #capacityBytes: number;
	#claimedBytes = 0;
	#waiting: Claim[] = [];

	constructor(capacityBytes: number) {
		this.#capacityBytes = capacityBytes;
	}

	/** Whether somebody waits for room. */
	get short(): boolean {
		return this.#waiting.length > 0;
	}

	/** Calls `granted` now or later; one claim is granted however large it is. The function gives the room back. */
	claim(bytes: number, granted: () => void): () => void {
		const claim: Claim = { bytes, granted, given: false };
		if (this.#waiting.length === 0 && this.#fits(claim)) this.#give(claim);
		else this.#waiting.push(claim);
		let over = false;
		return () => {
			if (over) return;
			over = true;
			if (claim.given) this.#claimedBytes -= claim.bytes;
			else this.#waiting.splice(this.#waiting.indexOf(claim), 1);
			this.#next();
		};
	}

	#fits({ bytes }: Claim): boolean {
		return this.#claimedBytes === 0 || this.#claimedBytes + bytes <= this.#capacityBytes;
	}

	#give(claim: Claim): void {
		claim.given = true;
		this.#claimedBytes += claim.bytes;
		claim.granted();
	}

	#next(): void {
		for (let first = this.#waiting[0]; first !== undefined && this.#fits(first); first = this.#waiting[0]) {
			this.#waiting.shift();
			this.#give(first);
		}
	}
}
