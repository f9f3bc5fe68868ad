import { describe, expect, it } from "vitest";
import { authenticate } from "../../../bridge/upstream/client/sasl.ts";
import { Scram } from "../../../bridge/upstream/client/scram.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { ScramServer } from "../../support/scram-server.ts";

// RFC 7677 section 3.
const NONCE = "rOprNGfwEbeRWgbNEkqO";
const FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const scram = (): Scram => new Scram("SCRAM-SHA-256", "user", "pencil", NONCE);

describe("SCRAM, the client's side", () => {
	it("says what the example of RFC 7677 says", async () => {
		const client = scram();
		expect(client.first().toString()).toBe("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
		expect((await client.final(Buffer.from(FIRST))).toString()).toBe(
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		);
		client.verify(Buffer.from("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
	});

	it("does not believe a broker that does not know the password", async () => {
		const client = scram();
		expect(() => client.verify(Buffer.from("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))).toThrow(/prove/);
		await client.final(Buffer.from(FIRST));
		expect(() => client.verify(Buffer.from("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))).toThrow(/prove/);
		expect(() => client.verify(Buffer.from("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95A=="))).toThrow(/prove/);
		expect(() => client.verify(Buffer.from("v="))).toThrow(/signature/);
	});

	it("says why the broker refuses", async () => {
		const client = scram();
		await client.final(Buffer.from(FIRST));
		const refusal = (): void => client.verify(Buffer.from("e=invalid-proof,x"));
		expect(refusal).toThrow("the broker refuses the login: invalid-proof");
		await expect(client.final(Buffer.from("e=unknown-user"))).rejects.toMatchObject({
			failure: "login",
			lasting: true,
		});
	});

	it.each([
		["another nonce", "r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096", /nonce/],
		["no nonce of its own", `r=${NONCE},s=QSXCR+Q6sek8bf92,i=4096`, /nonce/],
		["few iterations", `r=${NONCE}x,s=QSXCR+Q6sek8bf92,i=4095`, /4095 iterations/],
		["so many iterations that it would stand still", `r=${NONCE}x,s=QSXCR+Q6sek8bf92,i=1000001`, /iterations/],
		["iterations with a sign", `r=${NONCE}x,s=QSXCR+Q6sek8bf92,i=+4096`, /first message/],
		["a salt that is none", `r=${NONCE}x,s=QSX!,i=4096`, /first message/],
		["no salt", `r=${NONCE}x,i=4096`, /first message/],
		["an extension that must be known", `m=x,r=${NONCE}x,s=QSXCR+Q6sek8bf92,i=4096`, /extension/],
		["nothing", "", /first message/],
		["very much", `r=${NONCE}${"x".repeat(10_000)},s=QSXCR+Q6sek8bf92,i=4096`, /bytes/],
	])("refuses %s", async (_what, message, why) => {
		const refusal = scram().final(Buffer.from(message));
		await expect(refusal).rejects.toThrow(why);
		await expect(refusal).rejects.toMatchObject({ name: "LinkError", failure: "login", lasting: true });
	});

	it("takes a first message with more behind it", async () => {
		const message = `r=${NONCE}x,s=QSXCR+Q6sek8bf92,i=4096,later=1`;
		expect((await scram().final(Buffer.from(message))).toString()).toMatch(/^c=biws,r=rOprNGfwEbeRWgbNEkqOx,p=/);
	});
});

describe("SASL", () => {
	const random = (): SimulatedRandom => new SimulatedRandom(1);
	const both = [
		["SCRAM-SHA-256", "sha256"],
		["SCRAM-SHA-512", "sha512"],
	] as const;

	it.each(both)("%s: both sides are content, whatever is in name and password", async (mechanism, hash) => {
		const server = new ScramServer({ hash, password: "pä,=ss wörd", iterations: 8192 });
		const messages = [(bytes: Buffer) => server.first(bytes), (bytes: Buffer) => server.final(bytes) as Buffer];
		const sasl = { mechanism, username: "a=b,c", password: () => "pä,=ss wörd" };
		await authenticate(sasl, random(), async (bytes) => messages.shift()!(bytes));
		expect(server.username).toBe("a=3Db=2Cc");
		expect(messages).toEqual([]);
	});

	it("never uses a nonce twice", async () => {
		const source = random();
		const nonces = new Set<string>();
		for (let i = 0; i < 10; i++) {
			const sasl = { mechanism: "SCRAM-SHA-256", username: "u", password: () => "p" } as const;
			const attempt = authenticate(sasl, source, async (bytes) => {
				nonces.add(bytes.toString());
				throw new Error("enough");
			});
			await expect(attempt).rejects.toThrow("enough");
		}
		expect(nonces.size).toBe(10);
	});

	it("PLAIN: name and password in one message", async () => {
		const sent: Buffer[] = [];
		const sasl = { mechanism: "PLAIN", username: "gätewäy", password: () => "secret" } as const;
		await authenticate(sasl, random(), async (bytes) => {
			sent.push(bytes);
			return Buffer.alloc(0);
		});
		expect(Buffer.concat(sent).toString()).toBe("\0gätewäy\0secret");
	});

	it("PLAIN: does not let a zero byte divide what it should not", async () => {
		const sasl = { mechanism: "PLAIN", username: "u", password: () => "a\0b" } as const;
		await expect(authenticate(sasl, random(), async () => Buffer.alloc(0))).rejects.toThrow(/zero byte/);
	});

	it("says where the password could not be read", async () => {
		const password = (): string => {
			throw new Error("ENOENT: /etc/headwater/password");
		};
		const sasl = { mechanism: "PLAIN", username: "u", password } as const;
		await expect(authenticate(sasl, random(), async () => Buffer.alloc(0))).rejects.toMatchObject({
			failure: "login",
			lasting: true,
			message: expect.stringContaining("/etc/headwater/password"),
			action: expect.stringContaining("upstream.sasl.secret.file"),
		});
	});
});
