import com.amazonaws.encryptionsdk.AwsCrypto;
import com.amazonaws.encryptionsdk.CommitmentPolicy;
import com.amazonaws.encryptionsdk.CryptoAlgorithm;
import com.amazonaws.encryptionsdk.CryptoResult;
import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbClientBuilder;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.KmsClientBuilder;
import software.amazon.cryptography.keystore.KeyStore;
import software.amazon.cryptography.keystore.model.KMSConfiguration;
import software.amazon.cryptography.keystore.model.KeyStoreConfig;
import software.amazon.cryptography.materialproviders.ICryptographicMaterialsManager;
import software.amazon.cryptography.materialproviders.IKeyring;
import software.amazon.cryptography.materialproviders.MaterialProviders;
import software.amazon.cryptography.materialproviders.model.AesWrappingAlg;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsDiscoveryKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsHierarchicalKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsMrkDiscoveryKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsMrkKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateDefaultCryptographicMaterialsManagerInput;
import software.amazon.cryptography.materialproviders.model.CreateMultiKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateRawAesKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateRawEcdhKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateRawRsaKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateRequiredEncryptionContextCMMInput;
import software.amazon.cryptography.materialproviders.model.DiscoveryFilter;
import software.amazon.cryptography.materialproviders.model.EphemeralPrivateKeyToStaticPublicKeyInput;
import software.amazon.cryptography.materialproviders.model.MaterialProvidersConfig;
import software.amazon.cryptography.materialproviders.model.PaddingScheme;
import software.amazon.cryptography.materialproviders.model.PublicKeyDiscoveryInput;
import software.amazon.cryptography.materialproviders.model.RawEcdhStaticConfigurations;
import software.amazon.cryptography.materialproviders.model.RawPrivateKeyToStaticPublicKeyInput;
import software.amazon.cryptography.primitives.model.ECDHCurveSpec;

/** Reads cases, decrypts their messages and writes its own; see ../../README.md. */
public final class Peer {
  static final class Key {
    String type, namespace, name, aes, padding, curve, schema, endpoint;
    String table, logicalName, kmsKey;
    @com.google.gson.annotations.SerializedName("public") String publicKey;
    @com.google.gson.annotations.SerializedName("private") String privateKey;
  }

  static final class Case {
    String id, suite, altered, message;
    List<Key> keys;
    Key readWith;
    int reader, length;
    long frameLength;
    boolean discovery;
    Map<String, String> context = new HashMap<>();
    List<String> required = new ArrayList<>();
  }

  static final class Result {
    String id, message, encryptError, encryptSkip, sha256, decryptError;
    Map<String, String> context;
  }

  static final MaterialProviders providers =
      MaterialProviders.builder()
          .MaterialProvidersConfig(MaterialProvidersConfig.builder().build())
          .build();
  static final Map<String, KmsClient> clients = new HashMap<>();
  static final Map<String, KeyStore> stores = new HashMap<>();

  public static void main(String[] args) throws Exception {
    Gson gson = new Gson();
    try (BufferedReader in = Files.newBufferedReader(Path.of(args[0]));
        BufferedWriter out = Files.newBufferedWriter(Path.of(args[1]))) {
      for (String line; (line = in.readLine()) != null; ) {
        out.write(gson.toJson(exchange(gson.fromJson(line, Case.class))));
        out.newLine();
      }
    }
  }

  static Result exchange(Case c) {
    Result result = new Result();
    result.id = c.id;
    if (c.frameLength > Integer.MAX_VALUE) {
      result.encryptSkip = "the frame length is an int";
    } else if (c.altered == null) {
      try {
        result.message = Base64.getEncoder().encodeToString(encrypt(c));
      } catch (Throwable e) { // whatever it is, it belongs into the table
        result.encryptError = e.toString();
      }
    }
    try {
      decrypt(c, result);
    } catch (Throwable e) {
      result.decryptError = e.toString();
    }
    return result;
  }

  static byte[] encrypt(Case c) {
    List<IKeyring> all = new ArrayList<>();
    for (Key key : c.keys) {
      all.add(keyring(key));
    }
    IKeyring ring = all.get(0);
    if (all.size() > 1) {
      ring =
          providers.CreateMultiKeyring(
              CreateMultiKeyringInput.builder()
                  .generator(ring)
                  .childKeyrings(all.subList(1, all.size()))
                  .build());
    }
    AwsCrypto crypto = crypto(c);
    byte[] plaintext = plaintext(c.length);
    return (c.required.isEmpty()
            ? crypto.encryptData(ring, plaintext, c.context)
            : crypto.encryptData(manager(c, ring), plaintext, c.context))
        .getResult();
  }

  static void decrypt(Case c, Result result) throws Exception {
    Key key = c.readWith != null ? c.readWith : c.keys.get(c.reader);
    IKeyring ring = c.discovery ? discovery(key) : keyring(key);
    byte[] message = Base64.getDecoder().decode(c.message);
    AwsCrypto crypto = crypto(c);
    CryptoResult<byte[], ?> plain;
    if (c.required.isEmpty()) {
      plain = crypto.decryptData(ring, message);
    } else {
      Map<String, String> given = new HashMap<>(c.context);
      given.keySet().retainAll(c.required);
      plain = crypto.decryptData(manager(c, ring), message, given);
    }
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    result.sha256 = HexFormat.of().formatHex(digest.digest(plain.getResult()));
    result.context = plain.getEncryptionContext();
  }

  static AwsCrypto crypto(Case c) {
    boolean commits = c.suite.equals("0478") || c.suite.equals("0578");
    return AwsCrypto.builder()
        .withCommitmentPolicy(
            commits
                ? CommitmentPolicy.RequireEncryptRequireDecrypt
                : CommitmentPolicy.ForbidEncryptAllowDecrypt)
        .withEncryptionAlgorithm(algorithm(Integer.parseInt(c.suite, 16)))
        .withEncryptionFrameSize((int) Math.min(c.frameLength, Integer.MAX_VALUE)) // of no use to decrypt
        .build();
  }

  static CryptoAlgorithm algorithm(int id) {
    for (CryptoAlgorithm a : CryptoAlgorithm.values()) {
      if (a.getValue() == id) {
        return a;
      }
    }
    throw new IllegalArgumentException("suite " + id);
  }

  static ICryptographicMaterialsManager manager(Case c, IKeyring ring) {
    return providers.CreateRequiredEncryptionContextCMM(
        CreateRequiredEncryptionContextCMMInput.builder()
            .underlyingCMM(
                providers.CreateDefaultCryptographicMaterialsManager(
                    CreateDefaultCryptographicMaterialsManagerInput.builder().keyring(ring).build()))
            .requiredEncryptionContextKeys(c.required)
            .build());
  }

  static IKeyring keyring(Key key) {
    switch (key.type) {
      case "aes":
        byte[] wrapping = Base64.getDecoder().decode(key.aes);
        return providers.CreateRawAesKeyring(
            CreateRawAesKeyringInput.builder()
                .keyNamespace(key.namespace)
                .keyName(key.name)
                .wrappingKey(ByteBuffer.wrap(wrapping))
                .wrappingAlg(
                    AesWrappingAlg.valueOf("ALG_AES" + wrapping.length * 8 + "_GCM_IV12_TAG16"))
                .build());
      case "rsa":
        return providers.CreateRawRsaKeyring(
            CreateRawRsaKeyringInput.builder()
                .keyNamespace(key.namespace)
                .keyName(key.name)
                .paddingScheme(padding(key.padding))
                .publicKey(pem("PUBLIC", key.publicKey))
                .privateKey(pem("PRIVATE", key.privateKey))
                .build());
      case "hierarchy":
        return providers.CreateAwsKmsHierarchicalKeyring(
            CreateAwsKmsHierarchicalKeyringInput.builder()
                .keyStore(store(key))
                .branchKeyId(key.name)
                .ttlSeconds(60)
                .build());
      case "ecdh":
        return providers.CreateRawEcdhKeyring(
            CreateRawEcdhKeyringInput.builder()
                .curveSpec(ECDHCurveSpec.valueOf("ECC_NIST_" + key.curve))
                .KeyAgreementScheme(scheme(key))
                .build());
      case "kms-rsa":
        return Asymmetric.rsa(key, client(key));
      case "kms-ecdh":
        return Asymmetric.ecdh(key, client(key));
      case "mrk":
        return providers.CreateAwsKmsMrkKeyring(
            CreateAwsKmsMrkKeyringInput.builder().kmsKeyId(key.name).kmsClient(client(key)).build());
      default:
        return providers.CreateAwsKmsKeyring(
            CreateAwsKmsKeyringInput.builder().kmsKeyId(key.name).kmsClient(client(key)).build());
    }
  }

  /** Gives the store of the branch key; this SDK does not read the endpoints itself. */
  static KeyStore store(Key key) {
    return stores.computeIfAbsent(
        key.table,
        unused -> {
          Key protector = new Key();
          protector.name = key.kmsKey;
          DynamoDbClientBuilder b =
              DynamoDbClient.builder().region(Region.of(key.kmsKey.split(":")[3]));
          String endpoint = System.getenv("AWS_ENDPOINT_URL_DYNAMODB");
          return KeyStore.builder()
              .KeyStoreConfig(
                  KeyStoreConfig.builder()
                      .ddbTableName(key.table)
                      .logicalKeyStoreName(key.logicalName)
                      .kmsConfiguration(KMSConfiguration.builder().kmsKeyArn(key.kmsKey).build())
                      .kmsClient(client(protector))
                      .ddbClient(
                          (endpoint == null ? b : b.endpointOverride(URI.create(endpoint))).build())
                      .build())
              .build();
        });
  }

  static RawEcdhStaticConfigurations scheme(Key key) {
    RawEcdhStaticConfigurations.Builder b = RawEcdhStaticConfigurations.builder();
    switch (key.schema) {
      case "static":
        return b.RawPrivateKeyToStaticPublicKey(
                RawPrivateKeyToStaticPublicKeyInput.builder()
                    .senderStaticPrivateKey(pem("PRIVATE", key.privateKey))
                    .recipientPublicKey(der(key.publicKey))
                    .build())
            .build();
      case "ephemeral":
        return b.EphemeralPrivateKeyToStaticPublicKey(
                EphemeralPrivateKeyToStaticPublicKeyInput.builder()
                    .recipientPublicKey(der(key.publicKey))
                    .build())
            .build();
      default:
        return b.PublicKeyDiscovery(
                PublicKeyDiscoveryInput.builder()
                    .recipientStaticPrivateKey(pem("PRIVATE", key.privateKey))
                    .build())
            .build();
    }
  }

  static ByteBuffer der(String key) {
    return ByteBuffer.wrap(Base64.getDecoder().decode(key));
  }

  static PaddingScheme padding(String name) {
    return name.startsWith("OAEP-")
        ? PaddingScheme.valueOf("OAEP_" + name.substring(5) + "_MGF1")
        : PaddingScheme.PKCS1;
  }

  static ByteBuffer pem(String kind, String der) {
    StringBuilder b = new StringBuilder("-----BEGIN " + kind + " KEY-----\n");
    for (int i = 0; i < der.length(); i += 64) {
      b.append(der, i, Math.min(i + 64, der.length())).append('\n');
    }
    b.append("-----END " + kind + " KEY-----\n");
    return ByteBuffer.wrap(b.toString().getBytes(StandardCharsets.US_ASCII));
  }

  static IKeyring discovery(Key key) {
    String[] arn = key.name.split(":");
    DiscoveryFilter filter =
        DiscoveryFilter.builder().partition(arn[1]).accountIds(List.of(arn[4])).build();
    if (key.type.equals("mrk")) {
      return providers.CreateAwsKmsMrkDiscoveryKeyring(
          CreateAwsKmsMrkDiscoveryKeyringInput.builder()
              .kmsClient(client(key))
              .region(arn[3])
              .discoveryFilter(filter)
              .build());
    }
    return providers.CreateAwsKmsDiscoveryKeyring(
        CreateAwsKmsDiscoveryKeyringInput.builder()
            .kmsClient(client(key))
            .discoveryFilter(filter)
            .build());
  }

  /** Gives the client of the key's Region; this SDK does not read the endpoint itself. */
  static KmsClient client(Key key) {
    String region = key.name.split(":")[3];
    String endpoint = key.endpoint != null ? key.endpoint : System.getenv("AWS_ENDPOINT_URL_KMS");
    return clients.computeIfAbsent(
        region + endpoint,
        unused -> {
          KmsClientBuilder b = KmsClient.builder().region(Region.of(region));
          return (endpoint == null ? b : b.endpointOverride(URI.create(endpoint))).build();
        });
  }

  static byte[] plaintext(int length) {
    byte[] b = new byte[length];
    for (int i = 0; i < length; i++) {
      b[i] = (byte) (i * 7 + (i >> 8) * 13 + (i >> 16));
    }
    return b;
  }
}
