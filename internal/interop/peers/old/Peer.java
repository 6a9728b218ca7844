import com.amazonaws.encryptionsdk.AwsCrypto;
import com.amazonaws.encryptionsdk.CryptoAlgorithm;
import com.amazonaws.encryptionsdk.CryptoResult;
import com.amazonaws.encryptionsdk.MasterKeyProvider;
import com.amazonaws.encryptionsdk.jce.JceMasterKey;
import com.amazonaws.encryptionsdk.multi.MultipleProviderFactory;
import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.lang.reflect.InvocationTargetException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import javax.crypto.spec.SecretKeySpec;

/**
 * Reads cases, has an old Java SDK decrypt their messages and write its own; see ../../README.md.
 * Its keys are JCE master keys, which every version has.
 */
public final class Peer {
  static final class Key {
    String type, namespace, name, aes, padding;
    @com.google.gson.annotations.SerializedName("public") String publicKey;
    @com.google.gson.annotations.SerializedName("private") String privateKey;
  }

  static final class Case {
    String id, suite, altered, message;
    List<Key> keys;
    Key readWith;
    int reader, length;
    long frameLength;
    Map<String, String> context = new HashMap<>();
    List<String> required = new ArrayList<>();
  }

  static final class Result {
    String id, message, encryptError, encryptSkip, sha256, decryptError, decryptSkip;
    Map<String, String> context;
  }

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
    result.encryptSkip = result.decryptSkip = lacking(c);
    if (result.decryptSkip != null) {
      return result;
    }
    if (c.frameLength > Integer.MAX_VALUE) {
      result.encryptSkip = "the frame length is an int";
    } else if (commits(c) && policy("RequireEncryptRequireDecrypt") == null) {
      result.encryptSkip = "reads key commitment only";
    } else if (c.altered == null) {
      try {
        byte[] message =
            crypto(c, (int) c.frameLength).encryptData(provider(c.keys), plaintext(c.length), c.context).getResult();
        result.message = Base64.getEncoder().encodeToString(message);
      } catch (Throwable e) { // whatever it is, it belongs into the table
        result.encryptError = text(e);
      }
    }
    try {
      Key key = c.readWith != null ? c.readWith : c.keys.get(c.reader);
      CryptoResult<byte[], ?> plain =
          crypto(c, 4096).decryptData(provider(List.of(key)), Base64.getDecoder().decode(c.message));
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      result.sha256 = HexFormat.of().formatHex(digest.digest(plain.getResult()));
      result.context = plain.getEncryptionContext();
    } catch (Throwable e) {
      result.decryptError = text(e);
    }
    return result;
  }

  /** Gives the text of what went wrong, without the reflection that it came through. */
  static String text(Throwable e) {
    return (e instanceof InvocationTargetException ? e.getCause() : e).toString();
  }

  /** Gives what this version lacks for the case, null if nothing. */
  static String lacking(Case c) {
    if (!c.required.isEmpty()) {
      return "no required encryption context";
    }
    return algorithm(c) == null ? "no key commitment" : null;
  }

  static boolean commits(Case c) {
    return c.suite.equals("0478") || c.suite.equals("0578");
  }

  /** Gives the suite, null if this version does not have it. */
  static CryptoAlgorithm algorithm(Case c) {
    for (CryptoAlgorithm a : CryptoAlgorithm.values()) {
      if (a.getValue() == Integer.parseInt(c.suite, 16)) {
        return a;
      }
    }
    return null;
  }

  /** Gives the commitment policy, null if this version does not have it. */
  static Object policy(String name) {
    try {
      Class<?> policies = Class.forName("com.amazonaws.encryptionsdk.CommitmentPolicy");
      return policies.getField(name).get(null);
    } catch (ReflectiveOperationException e) {
      return null;
    }
  }

  /** Gives the client: from a builder if there are policies, else from the constructor. */
  static AwsCrypto crypto(Case c, int frameSize) throws ReflectiveOperationException {
    Object policy = policy("ForbidEncryptAllowDecrypt");
    if (policy == null) {
      AwsCrypto crypto = AwsCrypto.class.getConstructor().newInstance();
      AwsCrypto.class.getMethod("setEncryptionAlgorithm", CryptoAlgorithm.class).invoke(crypto, algorithm(c));
      AwsCrypto.class.getMethod("setEncryptionFrameSize", int.class).invoke(crypto, frameSize);
      return crypto;
    }
    if (commits(c) && policy("RequireEncryptRequireDecrypt") != null) {
      policy = policy("RequireEncryptRequireDecrypt");
    }
    Object builder = AwsCrypto.class.getMethod("builder").invoke(null);
    Class<?> type = builder.getClass();
    type.getMethod("withCommitmentPolicy", policy.getClass()).invoke(builder, policy);
    if (!commits(c) || policy("RequireEncryptRequireDecrypt") != null) {
      type.getMethod("withEncryptionAlgorithm", CryptoAlgorithm.class).invoke(builder, algorithm(c));
    }
    type.getMethod("withEncryptionFrameSize", int.class).invoke(builder, frameSize);
    return (AwsCrypto) type.getMethod("build").invoke(builder);
  }

  static MasterKeyProvider<?> provider(List<Key> keys) throws Exception {
    List<JceMasterKey> all = new ArrayList<>();
    for (Key key : keys) {
      all.add(masterKey(key));
    }
    return all.size() == 1
        ? all.get(0)
        : MultipleProviderFactory.buildMultiProvider(JceMasterKey.class, all);
  }

  static JceMasterKey masterKey(Key key) throws Exception {
    if (key.type.equals("aes")) {
      return JceMasterKey.getInstance(
          new SecretKeySpec(der(key.aes), "AES"), key.namespace, key.name, "AES/GCM/NoPadding");
    }
    KeyFactory factory = KeyFactory.getInstance("RSA");
    String padding =
        key.padding.startsWith("OAEP-SHA1")
            ? "OAEPWithSHA-1AndMGF1Padding"
            : key.padding.startsWith("OAEP-")
                ? "OAEPWithSHA-" + key.padding.substring("OAEP-SHA".length()) + "AndMGF1Padding"
                : "PKCS1Padding";
    return JceMasterKey.getInstance(
        factory.generatePublic(new X509EncodedKeySpec(der(key.publicKey))),
        factory.generatePrivate(new PKCS8EncodedKeySpec(der(key.privateKey))),
        key.namespace,
        key.name,
        "RSA/ECB/" + padding);
  }

  static byte[] der(String key) {
    return Base64.getDecoder().decode(key);
  }

  static byte[] plaintext(int length) {
    byte[] b = new byte[length];
    for (int i = 0; i < length; i++) {
      b[i] = (byte) (i * 7 + (i >> 8) * 13 + (i >> 16));
    }
    return b;
  }
}
