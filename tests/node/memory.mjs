// oidc-provider's storage: a map per model, with the listings that the control API needs.

/** Everything that one authorization server has issued. */
export class Memory {
  /** @param {(kind: string, value: string) => void} onIssued told of every token and code at its birth */
  constructor(onIssued) {
    this.models = new Map();
    this.onIssued = onIssued;
    this.clients = new Map();
  }

  model(name) {
    if (!this.models.has(name)) this.models.set(name, new Map());
    return this.models.get(name);
  }

  /** The live records of a model. */
  live(name) {
    const now = Date.now() / 1000;
    return [...this.model(name).entries()]
      .filter(([, record]) => !record.expiresAt || record.expiresAt > now)
      .map(([id, record]) => ({ id, ...record.payload }));
  }

  delete(name, id) {
    return this.model(name).delete(id);
  }

  /** oidc-provider's adapter factory. */
  adapter() {
    return (name) => new Adapter(this, name);
  }
}

const SECRET = new Set(['AccessToken', 'RefreshToken', 'AuthorizationCode']);

class Adapter {
  constructor(memory, name) {
    this.memory = memory;
    this.name = name;
    this.records = memory.model(name);
  }

  async upsert(id, payload, expiresIn) {
    if (SECRET.has(this.name) && !this.records.has(id)) this.memory.onIssued(this.name, id);
    this.records.set(id, { payload, expiresAt: expiresIn ? Date.now() / 1000 + expiresIn : undefined });
  }

  async find(id) {
    if (this.name === 'Client') return this.memory.clients.get(id);
    const record = this.records.get(id);
    if (!record || (record.expiresAt && record.expiresAt <= Date.now() / 1000)) return undefined;
    return record.payload;
  }

  async findByUid(uid) {
    return this.#first((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.#first((payload) => payload.userCode === userCode);
  }

  async consume(id) {
    const record = this.records.get(id);
    if (record) record.payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.records.delete(id);
  }

  async revokeByGrantId(grantId) {
    for (const [id, record] of this.records) {
      if (record.payload.grantId === grantId) this.records.delete(id);
    }
  }

  #first(matches) {
    for (const record of this.records.values()) if (matches(record.payload)) return record.payload;
    return undefined;
  }
}
