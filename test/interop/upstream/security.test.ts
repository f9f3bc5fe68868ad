/**
 * Logins, certificates and rights as Apache Kafka has them: what is right works, what is wrong is said with what to do about
 * it, and once it is put right, in the file or in the cluster, it goes on by itself.
 */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { freePorts } from "../../../device-sim/gateway-process.ts";
import type { UpstreamProblem } from "../../../src/native/client/upstream-types.ts";
import { temporaryFolder } from "../../support/gateway.ts";
import { Central, Operator } from "./central.ts";
import { Authority, type Certificate } from "./certificates.ts";
import { Edge, numbers, type Settings } from "./edge.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const MODULES = "org.apache.kafka.common.security";
const LOCALHOST = "IP:127.0.0.1";

describe.skipIf(!kafka)("a Kafka with TLS, logins and ACLs", () => {
	const folder = temporaryFolder("security");
	const ports = { SASL: 0, MUTUAL: 0, EXPIRED: 0, ELSEWHERE: 0, BARE: 0 };
	const at = (listener: keyof typeof ports): string => `127.0.0.1:${ports[listener]}`;
	let authority: Authority;
	let stranger: Authority;
	let own: Certificate;
	let central: Central;
	let operator: Operator;
	let edge: Edge | undefined;
	const secret = path.join(folder, "secret");

	beforeAll(async () => {
		authority = new Authority(folder, "authority");
		stranger = new Authority(folder, "stranger");
		own = authority.sign("gw-line-3", "DNS:line-3");
		const server = authority.sign("kafka", LOCALHOST);
		const free = await freePorts(5);
		for (const [i, name] of Object.keys(ports).entries()) ports[name as keyof typeof ports] = free[i] as number;
		const keystore = (listener: string, { both }: Certificate) => ({
			[`listener.name.${listener}.ssl.keystore.type`]: "PEM",
			[`listener.name.${listener}.ssl.keystore.location`]: both,
			[`listener.name.${listener}.ssl.truststore.type`]: "PEM",
			[`listener.name.${listener}.ssl.truststore.location`]: authority.certificate,
		});
		const login = (listener: string) => ({
			[`listener.name.${listener}.plain.sasl.jaas.config`]: `${MODULES}.plain.PlainLoginModule required user_plain="plain secret";`,
			[`listener.name.${listener}.scram-sha-256.sasl.jaas.config`]: `${MODULES}.scram.ScramLoginModule required;`,
			[`listener.name.${listener}.scram-sha-512.sasl.jaas.config`]: `${MODULES}.scram.ScramLoginModule required;`,
		});
		central = await Central.start({
			listeners: [
				`SASL:SASL_SSL:${ports.SASL}`,
				`MUTUAL:SSL:${ports.MUTUAL}`,
				`EXPIRED:SSL:${ports.EXPIRED}`,
				`ELSEWHERE:SSL:${ports.ELSEWHERE}`,
				`BARE:SASL_PLAINTEXT:${ports.BARE}`,
			],
			settings: {
				...keystore("sasl", server),
				...keystore("mutual", server),
				...keystore("expired", authority.sign("kafka", LOCALHOST, { expired: true })),
				...keystore("elsewhere", authority.sign("elsewhere", "DNS:kafka.example.com")),
				"listener.name.mutual.ssl.client.auth": "required",
				"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
				...login("sasl"),
				...login("bare"),
				// Sessions end, and are renewed, while the gateway runs.
				"listener.name.sasl.connections.max.reauth.ms": "3000",
				"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
				"super.users": "User:ANONYMOUS;User:CN=gw-line-3;User:plain;User:scram",
			},
		});
		operator = new Operator(central.bootstrap, kafkaClasses);
		await setPassword("scram", "right");
		fs.writeFileSync(secret, "right\n");
	});
	afterAll(async () => {
		await edge?.close();
		await operator?.close();
		await central?.close();
		fs.rmSync(folder, { recursive: true });
	});

	/** Kafka takes one mechanism at a time. */
	async function setPassword(user: string, password: string): Promise<void> {
		for (const mechanism of ["SCRAM-SHA-256", "SCRAM-SHA-512"]) {
			const config = `--add-config ${mechanism}=[password=${password}]`;
			await operator.out("configs", `--alter --entity-type users --entity-name ${user} ${config}`);
		}
	}
	const sasl = (mechanism: string, username: string): Settings => ({
		"upstream.security.protocol": "SASL_SSL",
		"upstream.sasl.mechanism": mechanism,
		"upstream.sasl.username": username,
		"upstream.sasl.secret.file": secret,
		"upstream.tls.ca": authority.certificate,
	});
	const mutual = (ca = authority.certificate): Settings => ({
		"upstream.security.protocol": "SSL",
		"upstream.tls.ca": ca,
		"upstream.tls.certificate": own.certificate,
		"upstream.tls.key": own.key,
	});
	let runs = 0;
	/** A gateway of its own name with something to send in topic `t<n>`. */
	async function start(listener: keyof typeof ports, settings: Settings): Promise<{ edge: Edge; topic: string }> {
		await edge?.close();
		const topic = `t${++runs}`;
		edge = await Edge.start(at(listener), { "upstream.topics": [topic], ...settings }, `line-${runs}`);
		await edge.create(topic);
		await edge.produce(topic, numbers(0, 10));
		return { edge, topic };
	}
	async function arrives({ edge, topic }: { edge: Edge; topic: string }): Promise<void> {
		await edge.untilSent(topic);
		expect(await operator.values(topic)).toEqual(await edge.values(topic));
	}
	/** As a person does who does not want to wait for the next attempt. */
	async function atOnce(started: { edge: Edge; topic: string }): Promise<void> {
		await started.edge.client.upstream.resume();
		await arrives(started);
	}
	const problemOf = async ({ edge }: { edge: Edge }): Promise<UpstreamProblem> => {
		const { problem } = await edge.until((status) => status.problem !== undefined);
		if (problem === undefined) throw new Error("no problem");
		return problem;
	};

	it.each([
		["SCRAM-SHA-512", "scram", "right"],
		["SCRAM-SHA-256", "scram", "right"],
		["PLAIN", "plain", "plain secret"],
	])("SASL_SSL with %s, and again when the session ends", async (mechanism, user, password) => {
		fs.writeFileSync(secret, `${password}\n`);
		const started = await start("SASL", sasl(mechanism, user));
		await arrives(started);
		// A session later.
		await new Promise((resolve) => setTimeout(resolve, mechanism === "SCRAM-SHA-512" ? 3200 : 0));
		await started.edge.produce(started.topic, numbers(10, 20));
		await arrives(started);
		expect((await started.edge.status()).problem).toBeUndefined();
	});

	it("SSL where the broker wants a certificate", async () => {
		await arrives(await start("MUTUAL", mutual()));
	});

	it("a wrong password: the status says so; right in the file, it goes on by itself", async () => {
		fs.writeFileSync(secret, "wrong\n");
		const started = await start("SASL", sasl("SCRAM-SHA-512", "scram"));
		expect(await problemOf(started)).toMatchObject({
			message: expect.stringMatching(/refuses the login of "scram"/),
			action: expect.stringMatching(/upstream\.sasl/),
		});
		fs.writeFileSync(secret, "right\n");
		await arrives(started);
	});

	it("a password that is changed in the cluster while it runs", async () => {
		fs.writeFileSync(secret, "right\n");
		const started = await start("SASL", sasl("SCRAM-SHA-512", "scram"));
		await arrives(started);
		await setPassword("scram", "new");
		await new Promise((resolve) => setTimeout(resolve, 3500));
		await started.edge.produce(started.topic, numbers(10, 20));
		expect((await problemOf(started)).message).toMatch(/login/i);
		fs.writeFileSync(secret, "new\n");
		await atOnce(started);
	});

	it("another authority's certificates: the status names the file to set; set right in place, it goes on with resume", async () => {
		const ca = path.join(folder, "ca-of-the-gateway.pem");
		fs.copyFileSync(stranger.certificate, ca);
		const started = await start("MUTUAL", mutual(ca));
		expect(await problemOf(started)).toMatchObject({
			message: expect.stringMatching(/authority that is not known here/),
			action: expect.stringMatching(/upstream\.tls\.ca/),
		});
		fs.copyFileSync(authority.certificate, ca);
		await atOnce(started);
	});

	it.each([
		["EXPIRED", /has expired/, /renew it, or set this machine's clock/],
		["ELSEWHERE", /is for another name: it has DNS:kafka\.example\.com$/, /upstream\.tls\.server\.name/],
		["BARE", /does not speak TLS|closed the connection before TLS was up/, /TLS listener/],
	] as const)("%s: the status says what is wrong with it", async (listener, message, action) => {
		expect(await problemOf(await start(listener, mutual()))).toMatchObject({
			message: expect.stringMatching(message),
			action: expect.stringMatching(action),
		});
	});

	it("a certificate for another name is taken where that name is configured", async () => {
		await arrives(await start("ELSEWHERE", { ...mutual(), "upstream.tls.server.name": "kafka.example.com" }));
	});

	it("no certificate, or one that the broker does not know", async () => {
		const { "upstream.tls.certificate": _, "upstream.tls.key": __, ...without } = mutual();
		const refused = {
			message: expect.stringMatching(/does not accept the certificate/),
			action: expect.stringMatching(/upstream\.tls\.certificate/),
		};
		expect(await problemOf(await start("MUTUAL", without))).toMatchObject(refused);
		const alien = stranger.sign("gw-line-3", "DNS:line-3");
		const files = { "upstream.tls.certificate": alien.certificate, "upstream.tls.key": alien.key };
		expect(await problemOf(await start("MUTUAL", { ...mutual(), ...files }))).toMatchObject(refused);
	});

	it("plain text to a TLS listener, TLS to a plain one, a mechanism that is not there", async () => {
		const speaksTls = await problemOf(await start("MUTUAL", {}));
		expect(speaksTls).toMatchObject({ action: expect.stringMatching(/upstream\.security\.protocol/) });
		const none = await problemOf(
			await start("SASL", { ...sasl("SCRAM-SHA-512", "nobody"), "upstream.sasl.username": "nobody" }),
		);
		expect(none.message).toMatch(/nobody/);
	});

	describe("rights", () => {
		beforeAll(async () => {
			const compact = "--config cleanup.policy=compact";
			await operator.out("topics", `--create --if-not-exists --topic __headwater_progress --partitions 4 ${compact}`);
		});
		const grant = (who: string, operations: string, resource: string): Promise<string> =>
			operator.out(
				"acls",
				`--add --allow-principal User:${who} ${operations
					.split(" ")
					.map((operation) => `--operation ${operation}`)
					.join(" ")} ${resource}`,
			);
		/** What docs/upstream.md lists; topics are made by others. */
		async function grantAll(who: string, id: string, topics: readonly string[]): Promise<void> {
			for (const topic of topics) await grant(who, "Write Describe DescribeConfigs", `--topic ${topic}`);
			await grant(who, "Read Write Describe DescribeConfigs", "--topic __headwater_progress");
			await grant(who, "Write Describe", `--transactional-id ${id}`);
		}
		const settings = (who: string): Settings => {
			fs.writeFileSync(secret, `${who}\n`);
			return sasl("SCRAM-SHA-512", who);
		};
		const acls = (changed: string, ...rest: string[]): Promise<string> =>
			operator.out("acls", [changed, ...rest].join(" "));

		it("with exactly those that the documentation lists, all goes, up and down", async () => {
			await setPassword("listed", "listed");
			await operator.out("topics", "--create --topic orders --partitions 1");
			await operator.out("console-producer", "--topic orders", "one\ntwo\n");
			const topic = `t${runs + 1}`;
			await operator.out("topics", `--create --topic ${topic} --partitions 1`);
			await grantAll("listed", `headwater-line-${runs + 1}`, [topic]);
			await grant("listed", "Read Describe", "--topic orders");
			const started = await start("SASL", {
				...settings("listed"),
				"upstream.downlink": [{ topic: "orders", from: "earliest" }],
			});
			await arrives(started);
			await started.edge.until(({ downlink }) => downlink[0]?.receivedRecords === 2);
			expect(await started.edge.values("orders")).toEqual(["one", "two"]);
			// As a fresh process, too: it reads its progress.
			await started.edge.crash();
			await started.edge.produce(started.topic, numbers(10, 20));
			await arrives(started);
			const status = await started.edge.status();
			expect([status.problem, status.topics[0]?.problem, status.downlink[0]?.problem]).toEqual([
				undefined,
				undefined,
				undefined,
			]);
		});

		it("with Create on its names the gateway makes its topics itself", async () => {
			await setPassword("maker", "maker");
			const topic = `t${runs + 1}`;
			await grant("maker", "Write Describe DescribeConfigs Create", `--topic ${topic}`);
			await grant("maker", "Read Write Describe DescribeConfigs Create", "--topic __progress");
			await grant("maker", "Write Describe", `--transactional-id headwater-line-${runs + 1}`);
			await arrives(await start("SASL", { ...settings("maker"), "upstream.progress.topic": "__progress" }));
		});

		it("without Write on one topic that topic waits with the command, others flow", async () => {
			await setPassword("partly", "partly");
			const topic = `t${runs + 1}`;
			for (const name of [topic, "denied"]) await operator.out("topics", `--create --topic ${name} --partitions 1`);
			await grantAll("partly", `headwater-line-${runs + 1}`, [topic]);
			await grant("partly", "Describe DescribeConfigs", "--topic denied");
			const started = await start("SASL", { ...settings("partly"), "upstream.topics": [topic, "denied"] });
			await started.edge.create("denied");
			await started.edge.produce("denied", numbers(0, 5));
			const { topics } = await started.edge.until((status) =>
				status.topics.some(({ problem }) => problem !== undefined),
			);
			const { problem } = topics.find(({ topic: name }) => name === "denied") ?? {};
			expect(problem?.message).toMatch(/denied: TOPIC_AUTHORIZATION_FAILED/);
			const command =
				/kafka-acls\.sh --bootstrap-server \S+ (--add .*--topic denied)/.exec(problem?.action ?? "")?.[1] ?? "";
			expect(command).toMatch(/--operation Write/);
			await started.edge.until((status) =>
				status.topics.some(({ topic: name, lagRecords }) => name === topic && lagRecords === 0),
			);
			expect(await operator.values(topic)).toEqual(numbers(0, 10));
			// The command helps as it stands.
			await acls(command);
			await started.edge.client.upstream.resume();
			await started.edge.untilSent();
			expect(await operator.values("denied")).toEqual(numbers(0, 5));
		});

		it("without the transactional id: the instruction; with it, it goes on", async () => {
			await setPassword("nameless", "nameless");
			const topic = `t${runs + 1}`;
			await operator.out("topics", `--create --topic ${topic} --partitions 1`);
			await grant("nameless", "Write Describe DescribeConfigs", `--topic ${topic}`);
			await grant("nameless", "Read Write Describe DescribeConfigs", "--topic __headwater_progress");
			const started = await start("SASL", settings("nameless"));
			const problem = await problemOf(started);
			expect(problem.message).toMatch(/TRANSACTIONAL_ID_AUTHORIZATION_FAILED/);
			const command =
				/kafka-acls\.sh --bootstrap-server \S+ (--add .*--transactional-id \S+)/.exec(problem.action ?? "")?.[1] ?? "";
			expect(command).toContain(`--transactional-id headwater-line-${runs}`);
			await acls(command);
			await atOnce(started);
		});

		it("for at-least-once those of the topic are enough", async () => {
			await setPassword("plainly", "plainly");
			const topic = `t${runs + 1}`;
			await operator.out("topics", `--create --topic ${topic} --partitions 1`);
			await grant("plainly", "Write Describe", `--topic ${topic}`);
			await arrives(await start("SASL", { ...settings("plainly"), "upstream.mode": "at-least-once" }));
		});

		it("without any, a downlink says what is missing for it", async () => {
			await setPassword("deaf", "deaf");
			const started = await start("SASL", {
				...settings("deaf"),
				"upstream.topics": [],
				"upstream.downlink": ["orders"],
			});
			const { downlink } = await started.edge.until((status) => status.downlink[0]?.problem !== undefined);
			expect(downlink[0]?.problem?.message).toMatch(/orders/);
			await grant("deaf", "Read Describe", "--topic orders");
			await started.edge.until((status) => status.downlink[0]?.problem === undefined && status.downlink[0]?.lag === 0);
		});
	});
});
